//! What JavaScript gets from outside: output, input, tool calls, a clock; and who watches rejected promises.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Instant;

use rquickjs::{Array, Ctx, Error, Function, Object, Persistent, Runtime, Value};

use crate::Spent;
use crate::job::{CallError, Host, Job};

/// Memory that a run which has not used up its own can always get, in bytes.
const PROBE_BYTES: usize = 1 << 20;

/// Where the job will be, once there is one. It holds on to the host only while that lives: the interpreter is left
/// behind with its memory, and must not keep descriptors open.
#[derive(Clone, Default)]
pub(super) struct Place(Rc<OnceCell<Taken>>);

/// What the functions want of a job.
struct Taken {
    host: Weak<Host>,
    tools: Option<String>,
}

impl Place {
    /// Takes the one job.
    pub(super) fn take(&self, host: &Rc<Host>, job: &Job) {
        self.0.get_or_init(|| Taken { host: Rc::downgrade(host), tools: job.tools.clone() });
    }

    fn host(&self) -> Option<Rc<Host>> {
        self.0.get()?.host.upgrade()
    }
}

/// The functions that `prelude.js` builds on. They do nothing before the job is there.
pub(super) fn object<'js>(ctx: &Ctx<'js>, place: &Place) -> Result<Object<'js>, Error> {
    let native = Object::new(ctx.clone())?;
    let out = place.clone();
    let print = move |stream: u8, text: String| {
        let Some(host) = out.host() else { return };
        if stream == 1 { &host.stdout } else { &host.stderr }.print(&text);
    };
    native.set("print", Function::new(ctx.clone(), print)?)?;
    let input = place.clone();
    let stdin = move || input.host().map_or_else(String::new, |host| host.input().to_owned());
    native.set("stdin", Function::new(ctx.clone(), stdin)?)?;
    let start = Instant::now();
    native.set("now", Function::new(ctx.clone(), move || start.elapsed().as_secs_f64() * 1000.0)?)?;
    let caller = place.clone();
    let call = move |ctx: Ctx<'js>, name: String, arguments: String| answer(&ctx, &caller, &name, &arguments);
    native.set("call", Function::new(ctx.clone(), call)?)?;
    let teller = place.clone();
    let progress = move |done: f64, total: Option<f64>, message: String| {
        if let Some(host) = teller.host() {
            // It fails when nobody listens any more.
            let _ = host.progress(done, total, &message);
        }
    };
    native.set("progress", Function::new(ctx.clone(), progress)?)?;
    let listed = place.clone();
    let tools = move || listed.0.get().and_then(|taken| taken.tools.clone());
    native.set("tools", Function::new(ctx.clone(), tools)?)?;
    Ok(native)
}

/// `[did it succeed, JSON]`.
fn answer<'js>(ctx: &Ctx<'js>, place: &Place, name: &str, arguments: &str) -> Result<Array<'js>, Error> {
    let answer = place.host().map_or(Err(CallError::Over), |host| host.call(name, arguments));
    let (ok, json) = match answer {
        Ok(value) => (true, value),
        Err(CallError::Tool(failure)) => (false, serde_json::to_string(&failure).unwrap_or_default()),
        Err(CallError::NotMade(message)) => (false, serde_json::json!({ "message": message }).to_string()),
        Err(CallError::Over) => (false, serde_json::json!({ "message": "the run is over" }).to_string()),
    };
    let answer = Array::new(ctx.clone())?;
    answer.set(0, ok)?;
    answer.set(1, json)?;
    Ok(answer)
}

/// Whether QuickJS had no memory left for an error: it throws `null` then, and there still is none.
pub(super) fn is_shortage<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> bool {
    if !thrown.is_null() {
        return false;
    }
    let is_full = rquickjs::String::from_str(ctx.clone(), &"x".repeat(PROBE_BYTES)).is_err();
    if is_full {
        ctx.catch();
    }
    is_full
}

/// A promise and the reason for which it was rejected.
type Rejection = (Persistent<Value<'static>>, Persistent<Value<'static>>);

/// Promises that were rejected and that nothing handles.
#[derive(Clone, Default)]
pub(super) struct Rejections(Rc<RefCell<Vec<Rejection>>>);

impl Rejections {
    pub(super) fn watch(runtime: &Runtime, host: &Rc<Host>) -> Self {
        let rejections = Self::default();
        let watcher = rejections.clone();
        let host = Rc::downgrade(host);
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, is_handled| {
                if is_handled {
                    watcher.forget(&ctx, &promise);
                } else if is_shortage(&ctx, &reason) {
                    host.upgrade().inspect(|host| host.clock.note(Spent::Memory));
                } else {
                    let pair = (Persistent::save(&ctx, promise), Persistent::save(&ctx, reason));
                    watcher.0.borrow_mut().push(pair);
                }
            },
        )));
        rejections
    }

    /// The reason of the first one.
    pub(super) fn first<'js>(&self, ctx: &Ctx<'js>) -> Option<Value<'js>> {
        let (_, reason) = self.0.borrow().first().cloned()?;
        reason.restore(ctx).ok()
    }

    fn forget<'js>(&self, ctx: &Ctx<'js>, promise: &Value<'js>) {
        let is_other =
            |(saved, _): &Rejection| saved.clone().restore(ctx).is_ok_and(|saved| saved != *promise);
        self.0.borrow_mut().retain(is_other);
    }
}
