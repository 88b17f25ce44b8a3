//! What `llmc` and `tools` do beside calling tools: `tools.search`, `tools.describe`, `llmc.secret`, `llmc.progress`.

use monty::ReplFunctionCall;
use monty_types::MontyObject;
use serde_json::json;

use super::catalogue::Catalogue;
use super::convert;
use super::{Refusal, call};
use crate::job::Host;

/// Functions of the module.
pub(super) const FUNCTIONS: [&str; 2] = ["secret", "progress"];

/// What a search finds if nothing else is asked for.
const DEFAULT_LIMIT: usize = 20;

/// `tools.search(words="", limit=20)`
pub(super) fn search(tools: Option<&str>, asked: &ReplFunctionCall) -> Result<MontyObject, Refusal> {
    let [words, limit] = bind("tools.search", ["words", "limit"], asked)?;
    let words = words.map_or(Ok(""), |words| text("tools.search", "words", words))?;
    let limit = match limit {
        None => DEFAULT_LIMIT,
        Some(MontyObject::Int(limit)) => usize::try_from(*limit).unwrap_or(0),
        Some(_) => return Err(Refusal::Wrong("tools.search: `limit` must be an int".into())),
    };
    let tools = Catalogue::of(tools).map_err(Refusal::Failed)?;
    Ok(convert::object(tools.search(words, limit)))
}

/// `tools.describe(name)`
pub(super) fn describe(tools: Option<&str>, asked: &ReplFunctionCall) -> Result<MontyObject, Refusal> {
    let [name] = bind("tools.describe", ["name"], asked)?;
    let name = text("tools.describe", "name", needed("tools.describe", "name", name)?)?;
    let tool = Catalogue::of(tools).and_then(|tools| tools.describe(name)).map_err(Refusal::Failed)?;
    Ok(convert::object(tool))
}

/// `llmc.secret(name)` and `llmc.progress(done, total=None, message="")`
pub(super) fn of_module(host: &Host, name: &str, asked: &ReplFunctionCall) -> Result<MontyObject, Refusal> {
    if name == "secret" {
        let [name] = bind("secret", ["name"], asked)?;
        let name = text("secret", "name", needed("secret", "name", name)?)?;
        return call(host, "llmc.secret", &json!({ "name": name }).to_string());
    }
    if name != "progress" {
        return Err(Refusal::Wrong(format!("llmc.{name} is no function")));
    }
    let [done, total, message] = bind("progress", ["done", "total", "message"], asked)?;
    let done = number("done", needed("progress", "done", done)?)?;
    let total = total.filter(|total| !matches!(total, MontyObject::None));
    let total = total.map(|total| number("total", total)).transpose()?;
    let message = message.map_or(Ok(""), |message| text("progress", "message", message))?;
    host.progress(done, total, message).map_err(|_| Refusal::Over)?;
    Ok(MontyObject::None)
}

/// Arguments by place or by name.
fn bind<'a, const COUNT: usize>(
    function: &str,
    names: [&str; COUNT],
    asked: &'a ReplFunctionCall,
) -> Result<[Option<&'a MontyObject>; COUNT], Refusal> {
    let takes =
        || Refusal::Wrong(format!("{function} takes {}", names.map(|name| format!("`{name}`")).join(", ")));
    let mut bound = [None; COUNT];
    if asked.args.len() > COUNT {
        return Err(takes());
    }
    for (place, value) in bound.iter_mut().zip(&asked.args) {
        *place = Some(value);
    }
    for (name, value) in &asked.kwargs {
        let MontyObject::String(name) = name else { return Err(takes()) };
        let place = names.iter().position(|known| known == name).ok_or_else(takes)?;
        if bound[place].replace(value).is_some() {
            return Err(takes());
        }
    }
    Ok(bound)
}

fn needed<'a>(
    function: &str,
    name: &str,
    value: Option<&'a MontyObject>,
) -> Result<&'a MontyObject, Refusal> {
    value.ok_or_else(|| Refusal::Wrong(format!("{function} needs `{name}`")))
}

fn text<'a>(function: &str, name: &str, value: &'a MontyObject) -> Result<&'a str, Refusal> {
    match value {
        MontyObject::String(text) => Ok(text),
        _ => Err(Refusal::Wrong(format!("{function}: `{name}` must be a str"))),
    }
}

fn number(name: &str, value: &MontyObject) -> Result<f64, Refusal> {
    let number = convert::to_json(value).and_then(|json| json.parse::<f64>().ok());
    number.ok_or_else(|| Refusal::Wrong(format!("progress: `{name}` must be a finite number")))
}
