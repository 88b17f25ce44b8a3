//! JavaScript by QuickJS: ES2023, without modules, network and files.
//!
//! The code is a script in whose top level `await` works. It finds `console`, `print`, `stdin` (a string), timers, and
//! `tools`, whose calls are synchronous: `tools.read_file({path: "notes.md"}).text`.
//!
//! QuickJS counts its own memory and asks every few thousand steps whether to go on. What it does not interrupt, such
//! as an arithmetic operation on huge integers, the jail ends.

mod natives;

use std::rc::Rc;
use std::time::Duration;

use rquickjs::context::EvalOptions;
use rquickjs::promise::PromiseState;
use rquickjs::{Array, Context, Ctx, Error, Function, Object, Persistent, Promise, Runtime, Value};

use crate::job::{Host, Job};
use crate::report::{Raised, Report, Shown};
use crate::{Prepared, Spent};
use natives::{Place, Rejections};

/// What tells the interpreter in results.
pub const ENGINE: &str = "QuickJS-ng (rquickjs 0.14)";

const PRELUDE: &str = include_str!("prelude.js");
/// File name of the code in tracebacks.
const NAME: &str = "<code>";
/// Stack of the interpreter in bytes, well below the stack of a thread.
const STACK_BYTES: usize = 1 << 20;

/// Gets the interpreter ready, prelude included: the greater part of what a short job takes.
pub fn prepare() -> Prepared {
    let engine = Engine::new();
    Box::new(|streams, limits| {
        crate::job::run(ENGINE, streams, limits, |host, job| match engine {
            Ok(engine) => engine.execute(host, job),
            Err(_) => shortage(host),
        })
    })
}

/// An interpreter without a job. The order of the fields is that in which they can be dropped.
struct Engine {
    prelude: Persistent<Object<'static>>,
    context: Context,
    runtime: Runtime,
    place: Place,
}

impl Engine {
    fn new() -> Result<Self, Error> {
        let runtime = Runtime::new()?;
        runtime.set_max_stack_size(STACK_BYTES);
        let context = Context::full(&runtime)?;
        let place = Place::default();
        let prelude = context.with(|ctx| {
            let prelude: Function<'_> = ctx.eval_with_options(PRELUDE, script("llmc:prelude", false))?;
            let prelude: Object<'_> = prelude.call((natives::object(&ctx, &place)?,))?;
            Ok::<_, Error>(Persistent::save(&ctx, prelude))
        })?;
        Ok(Self { prelude, context, runtime, place })
    }

    fn execute(self, host: &Rc<Host>, job: &Job) -> Report {
        // What the start took counts, too.
        self.runtime.set_memory_limit(host.limits.heap_bytes());
        let watched = Rc::downgrade(host);
        let is_over = move || watched.upgrade().is_none_or(|host| host.clock.check().is_some());
        self.runtime.set_interrupt_handler(Some(Box::new(is_over)));
        let rejections = Rejections::watch(&self.runtime, host);
        self.place.take(host, job);
        let report = self.context.with(|ctx| match Machine::new(&ctx, host, &self.prelude) {
            Ok(machine) => machine.execute(&job.code, &rejections),
            Err(_) => shortage(host),
        });
        // The process ends now. Taking its memory apart would cost time, and code may have left it in any state.
        std::mem::forget((self, rejections));
        report
    }
}

/// The interpreter could not even start.
fn shortage(host: &Host) -> Report {
    host.clock.note(Spent::Memory);
    Report { error: Some(Raised::limit(Spent::Memory, None, None)), ..Report::default() }
}

/// The interpreter around one job.
struct Machine<'a, 'js> {
    ctx: &'a Ctx<'js>,
    host: &'a Host,
    prelude: Object<'js>,
}

/// How the code ended.
enum End<'js> {
    Value(Value<'js>),
    Thrown(Value<'js>),
    /// It waits for something that cannot come.
    Stuck,
    /// See the clock.
    Spent,
}

impl<'a, 'js> Machine<'a, 'js> {
    fn new(
        ctx: &'a Ctx<'js>,
        host: &'a Rc<Host>,
        prelude: &Persistent<Object<'static>>,
    ) -> Result<Self, Error> {
        let machine = Self { ctx, host, prelude: prelude.clone().restore(ctx)? };
        machine.ask::<_, ()>("begin", ())?;
        Ok(machine)
    }

    fn execute(&self, code: &str, rejections: &Rejections) -> Report {
        let end = match self.run(code) {
            End::Value(value) => match rejections.first(self.ctx) {
                Some(reason) => End::Thrown(reason),
                None => End::Value(value),
            },
            end => end,
        };
        let mut report = Report::default();
        let value = match &end {
            End::Value(value) if !value.is_undefined() => Some(value.clone()),
            _ => self.variable("result"),
        };
        if let End::Thrown(error) = &end {
            report.error = Some(self.describe(error));
        }
        if let End::Stuck = end {
            let message = "the code awaits a promise that nothing will ever settle";
            report.error = Some(Raised::new("Deadlock", message, None, None));
        }
        report.value = value.and_then(|value| self.show(value));
        // A value can have code of its own, which can use up what was left.
        if let Some(spent) = self.host.clock.spent() {
            let place = report.error.take();
            let (traceback, line) = place.map_or((None, None), |error| (error.traceback, error.line));
            report.error = Some(Raised::limit(spent, traceback.as_deref(), line));
        }
        report
    }

    fn run(&self, code: &str) -> End<'js> {
        let main: Promise<'js> = match self.ctx.eval_with_options(code, script(NAME, true)) {
            Ok(main) => main,
            Err(_) => return self.thrown(),
        };
        let value = match self.settle(&main) {
            // A script is an object with the value of its last expression.
            End::Value(value) => {
                value.as_object().and_then(|object| object.get::<_, Value<'js>>("value").ok())
            }
            end => return end,
        };
        let value = value.unwrap_or_else(|| Value::new_undefined(self.ctx.clone()));
        match Promise::from_value(value.clone()) {
            // `main()` as the last line: what counts is what comes out of it.
            Ok(promise) => self.settle(&promise),
            Err(_) => match self.drain() {
                Some(end) => end,
                None => End::Value(value),
            },
        }
    }

    /// Runs jobs and timers until there is nothing left to do, and tells what became of the promise.
    fn settle(&self, promise: &Promise<'js>) -> End<'js> {
        if let Some(end) = self.drain() {
            return end;
        }
        match promise.state() {
            PromiseState::Pending => End::Stuck,
            PromiseState::Resolved | PromiseState::Rejected => match promise.result::<Value<'js>>() {
                Some(Ok(value)) => End::Value(value),
                _ => self.thrown(),
            },
        }
    }

    /// Runs jobs and timers until none is left.
    fn drain(&self) -> Option<End<'js>> {
        loop {
            while self.ctx.execute_pending_job() {
                if self.host.clock.spent().is_some() {
                    return Some(End::Spent);
                }
            }
            if self.host.clock.check().is_some() {
                return Some(End::Spent);
            }
            let wait: f64 = self.ask("wait", ()).unwrap_or(-1.0);
            if wait < 0.0 {
                return None;
            }
            let wait = Duration::try_from_secs_f64(wait / 1000.0).unwrap_or(Duration::MAX);
            std::thread::sleep(wait.min(self.host.clock.wall_left()));
            if self.host.clock.check().is_some() {
                return Some(End::Spent);
            }
            if self.ask::<_, ()>("fire", ()).is_err() {
                return Some(self.thrown());
            }
        }
    }

    /// What was just thrown. The clock is asked first: an interruption is no error of the code.
    fn thrown(&self) -> End<'js> {
        let error = self.ctx.catch();
        if self.host.clock.spent().is_some() {
            return End::Spent;
        }
        let is_shortage = || self.ask("isOutOfMemory", (error.clone(),)).unwrap_or(false);
        if natives::is_shortage(self.ctx, &error) || is_shortage() {
            self.host.clock.note(Spent::Memory);
        }
        End::Thrown(error)
    }

    /// A variable of the code, however it was declared.
    fn variable(&self, name: &str) -> Option<Value<'js>> {
        let source = format!("typeof {name} === 'undefined' ? undefined : {name}");
        let value: Result<Value<'js>, Error> =
            self.ctx.eval_with_options(source, script("llmc:prelude", false));
        value.inspect_err(|_| drop(self.ctx.catch())).ok().filter(|value| !value.is_undefined())
    }

    fn show(&self, value: Value<'js>) -> Option<Shown> {
        let shown: Array<'js> = self.ask("value", (value,)).inspect_err(|_| drop(self.ctx.catch())).ok()?;
        let text: String = shown.get(1).ok()?;
        Some(if shown.get(0).unwrap_or(false) { Shown::json(text) } else { Shown::repr(&text) })
    }

    fn describe(&self, error: &Value<'js>) -> Raised {
        let parts: Result<Vec<String>, Error> = self.ask("error", (error.clone(),));
        match parts.as_deref() {
            Ok([kind, message, stack]) => {
                let head = if message.is_empty() { kind.clone() } else { format!("{kind}: {message}") };
                let traceback = (!stack.is_empty()).then(|| format!("{head}\n{stack}\n"));
                Raised::new(kind, message, traceback.as_deref(), line(stack))
            }
            _ => {
                drop(self.ctx.catch());
                Raised::new("Error", "<it cannot be described>", None, None)
            }
        }
    }

    /// Calls a function of the prelude.
    fn ask<A: rquickjs::function::IntoArgs<'js>, R: rquickjs::FromJs<'js>>(
        &self,
        name: &str,
        args: A,
    ) -> Result<R, Error> {
        self.prelude.get::<_, Function<'js>>(name)?.call(args)
    }
}

fn script(name: &str, is_code: bool) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.global = true;
    options.strict = false;
    options.promise = is_code;
    options.backtrace_barrier = is_code;
    options.filename = Some(name.to_owned());
    options
}

/// The line of the code that the stack names first.
fn line(stack: &str) -> Option<u64> {
    let (_, rest) = stack.split_once(&format!("{NAME}:"))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests;
