//! Kits: files that a plugin brings along in many runs, sent once and kept here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use llmc_core::code;
use llmc_core::run::{RunFile, RunRequest};
use llmc_wire::host::Failure;

use crate::plugin::connection::failure;

/// The last kit of each plugin, which no other plugin sees.
#[derive(Default)]
pub(super) struct Kits(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    of: HashMap<String, Kit>,
    /// Kits so far. A number is never given twice, so files never change under theirs.
    count: u64,
}

struct Kit {
    name: String,
    number: u64,
    files: Vec<RunFile>,
}

impl Kits {
    /// Keeps the files of a request that names them, or puts them into one that leaves them out; tells their number.
    pub(super) fn unpack(&self, plugin: &str, request: &mut RunRequest) -> Result<Option<u64>, Failure> {
        let Some(name) = request.kit.take() else { return Ok(None) };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.of.get(plugin).filter(|kit| kit.name == name);
        if request.files.is_empty() {
            let unknown = || failure(code::UNKNOWN_ITEM, format!("kit `{name}` is not here; send its files"));
            let kit = known.ok_or_else(unknown)?;
            request.files.clone_from(&kit.files);
            return Ok(Some(kit.number));
        }
        if let Some(kit) = known.filter(|kit| kit.files == request.files) {
            return Ok(Some(kit.number));
        }
        kept.count += 1;
        let number = kept.count;
        kept.of.insert(plugin.to_owned(), Kit { name, number, files: request.files.clone() });
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kit: &str, contents: Option<&str>) -> RunRequest {
        let request = RunRequest { kit: Some(kit.into()), ..RunRequest::new("python", [""; 0]) };
        contents.into_iter().fold(request, |request, contents| request.file("a", contents))
    }

    #[test]
    fn files_are_kept_under_a_number_of_their_own() {
        let kits = Kits::default();
        let unpack = |plugin: &str, mut request: RunRequest| {
            let number = kits.unpack(plugin, &mut request)?;
            Ok::<_, Failure>((number, request.files.pop().map(|file| file.contents)))
        };
        assert_eq!(unpack("exec", request("k", None)).unwrap_err().code, code::UNKNOWN_ITEM);
        assert_eq!(unpack("exec", request("k", Some("one"))).unwrap(), (Some(1), Some("one".into())));
        assert_eq!(unpack("exec", request("k", Some("one"))).unwrap().0, Some(1));
        assert_eq!(unpack("exec", request("k", None)).unwrap(), (Some(1), Some("one".into())));
        // Another plugin neither sees nor changes it.
        assert_eq!(unpack("other", request("k", None)).unwrap_err().code, code::UNKNOWN_ITEM);
        assert_eq!(unpack("other", request("k", Some("its"))).unwrap().0, Some(2));
        assert_eq!(unpack("exec", request("k", None)).unwrap().1, Some("one".into()));
        // Other files, other number; other name, other kit.
        assert_eq!(unpack("exec", request("k", Some("two"))).unwrap(), (Some(3), Some("two".into())));
        assert_eq!(unpack("exec", request("l", None)).unwrap_err().code, code::UNKNOWN_ITEM);
        assert_eq!(unpack("exec", RunRequest::new("python", [""; 0])).unwrap(), (None, None));
    }
}
