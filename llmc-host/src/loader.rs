//! Opening a plugin: every way in which a library can be wrong is one readable sentence.

#![expect(
    unsafe_code,
    reason = "dlopen runs the library's constructors, and a symbol has the type we say it has"
)]

use std::error::Error;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::{AbiHeaderRef, LibHeader};
use abi_stable::std_types::{RResult, RSlice};
use abi_stable::type_layout::TypeLayout;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use llmc_abi::{CallCtx, PluginRef, ToolError};
use serde_json::Value;

/// Largest manifest that is looked at: 4 MiB.
const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// A plugin that fits this host.
#[derive(Clone, Copy)]
pub(crate) struct Plugin(PluginRef);

impl Plugin {
    /// Opens the library at `path`, called `name` in messages. It stays loaded until the process ends.
    ///
    /// A library that dies in its constructors takes this process with it; the server then reports that.
    pub(crate) fn load(path: &CStr, name: &Path) -> Result<Self, String> {
        let header = header(path, name)?;
        let module = checked(header, name)?;
        Ok(Self(module))
    }

    /// The plugin's manifest as JSON; what it says is judged by the server.
    pub(crate) fn manifest(&self, name: &Path) -> Result<Value, String> {
        let name = name.display();
        let bytes = self.0.manifest()();
        match bytes.len() {
            0 => Err(format!("plugin `{name}` could not build its manifest; its log tells why")),
            len if len > MAX_MANIFEST_BYTES => {
                Err(format!("manifest of plugin `{name}` has {len} bytes, the limit is {MAX_MANIFEST_BYTES}"))
            }
            _ => serde_json::from_slice(&bytes)
                .map_err(|error| format!("manifest of plugin `{name}` is not JSON: {error}")),
        }
    }

    /// Runs one call and returns the JSON of its result.
    pub(crate) fn call(&self, ctx: &CallCtx, item: u32, args: &[u8]) -> Result<Vec<u8>, ToolError> {
        match self.0.call()(ctx, item, RSlice::from_slice(args)) {
            RResult::ROk(body) => Ok(body.into_vec()),
            RResult::RErr(error) => Err(error),
        }
    }
}

/// Opens the library and finds the exported header.
fn header(path: &CStr, name: &Path) -> Result<&'static LibHeader, String> {
    let shown = name.display();
    // SAFETY: the constructors of the library are foreign code by design; this process is jailed and holds
    // nothing that the plugin was not granted.
    let library = unsafe { Library::open(Some(OsStr::from_bytes(path.to_bytes())), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| not_a_library(&cause(&error, path), name))?;
    // SAFETY: the symbol is the address of a static `LibHeader`, which is what `AbiHeaderRef` points to; its
    // first bytes are a magic string that `upgrade` checks before anything else is read.
    let header = unsafe { library.get::<AbiHeaderRef>(llmc_abi::SYMBOL.to_bytes_with_nul()) }
        .map(|symbol| *symbol)
        .map_err(|_| other_major(&library, name))?;
    // Code and statics of a plugin are referenced until the process ends.
    std::mem::forget(library);
    // The error is a page of numbers.
    header.upgrade().map_err(|_| {
        format!(
            "`{shown}` was built with another version of `abi_stable`, or is damaged; \
             rebuild it with llmc-core for plugin interface {}",
            llmc_abi::VERSION
        )
    })
}

/// Checks that both sides mean the same types, whichever of them is older.
fn checked(header: &'static LibHeader, name: &Path) -> Result<PluginRef, String> {
    let shown = name.display();
    let advice = format!("rebuild it with llmc-core for plugin interface {}", llmc_abi::VERSION);
    let version = header.version_strings().version;
    if major(version.as_str()) != major(llmc_abi::VERSION) {
        return Err(format!("`{shown}` was built for plugin interface {version}; {advice}"));
    }
    let theirs = header.layout().ok_or_else(|| format!("`{shown}` carries no layout to check; {advice}"))?;
    if let Err(difference) = fits(<PluginRef as StableAbi>::LAYOUT, theirs) {
        return Err(format!("`{shown}` disagrees with this host about a type ({difference}); {advice}"));
    }
    // SAFETY: `fits` compared the layouts, in both directions, because the stock check refuses a plugin that
    // is older than its host.
    unsafe { header.init_root_module_with_unchecked_layout::<PluginRef>() }
        .map_err(|error| format!("`{shown}` failed to start: {}", first_line(&error)))
}

/// Whether one of the two layouts extends the other; otherwise where they differ, in a few words.
fn fits(ours: &'static TypeLayout, theirs: &'static TypeLayout) -> Result<(), String> {
    let Err(newer_host) = check_layout_compatibility(ours, theirs) else { return Ok(()) };
    check_layout_compatibility(theirs, ours).map_err(|_| difference(&newer_host.to_string()))
}

/// The useful part of a layout error, whose text runs to twenty thousand characters: its last lines.
fn difference(error: &str) -> String {
    let lines: Vec<&str> = error.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(6)..].join(" ");
    tail.chars().take(300).collect()
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

/// Why `dlopen` failed, with what to do about it.
fn not_a_library(cause: &str, name: &Path) -> String {
    let shown = name.display();
    if let Some(missing) = cause.strip_suffix(": cannot open shared object file: No such file or directory") {
        return format!(
            "`{shown}` needs the library `{missing}`, which a plugin host does not offer; \
             link it statically into the plugin"
        );
    }
    format!("`{shown}` is not a loadable library ({cause}); is it complete and built for this machine?")
}

/// The library lacks our symbol: say whether it is a plugin of another major version.
fn other_major(library: &Library, name: &Path) -> String {
    let shown = name.display();
    let found = (2..=9).find(|major| {
        let symbol = format!("LLMC_PLUGIN_V{major}\0");
        // SAFETY: only the existence of the symbol is asked for; its value is not used.
        unsafe { library.get::<*const ()>(symbol.as_bytes()) }.is_ok()
    });
    match found {
        Some(major) => format!(
            "`{shown}` is a plugin for interface version {major}, this host speaks version 1; \
             install a matching llmc or rebuild the plugin"
        ),
        None => format!(
            "`{shown}` is a library but not an llmc plugin: it does not export `{}`; \
             use `llmc_core::export_plugin!`",
            llmc_abi::SYMBOL.to_string_lossy()
        ),
    }
}

/// libloading's own text is only "dlopen failed"; the reason is its source.
fn cause(error: &libloading::Error, path: &CStr) -> String {
    let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    // The path is that of the sealed copy, which tells an operator nothing.
    text.strip_prefix(&format!("{}: ", path.to_string_lossy())).map(str::to_owned).unwrap_or(text)
}

fn first_line(error: &dyn Error) -> String {
    error
        .to_string()
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no reason given")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    fn load(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let path = CString::new(file.path().to_str().unwrap()).unwrap();
        Plugin::load(&path, Path::new("broken.so")).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_text_file_is_named_as_such() {
        assert_eq!(
            load(b"this is a text file, longer than an ELF header would have to be to count as one"),
            "`broken.so` is not a loadable library (invalid ELF header); \
             is it complete and built for this machine?"
        );
        assert!(load(b"short").contains("file too short"));
    }

    #[test]
    fn a_library_without_the_symbol_is_named_as_such() {
        let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = libc
            .lines()
            .find_map(|line| line.split_whitespace().last().filter(|f| f.contains("/libc.so")))
            .unwrap();
        let error = Plugin::load(&CString::new(libc).unwrap(), Path::new("libc.so")).map(|_| ()).unwrap_err();
        assert!(error.contains("does not export `LLMC_PLUGIN_V1`"), "{error}");
    }

    #[test]
    fn a_layout_difference_is_cut_to_a_few_words() {
        let long = "noise\n".repeat(5000) + "mismatched type\nExpected:\n  i32\nFound:\n  i64\n";
        let short = difference(&long);
        assert!(short.len() <= 300 && short.contains("Expected: i32 Found: i64"), "{short}");
    }

    #[expect(dead_code, reason = "only the layouts of these types matter")]
    mod grown {
        //! The interface as a later minor version might have it, and one that broke it.
        use abi_stable::StableAbi;
        use abi_stable::std_types::RVec;

        #[repr(C)]
        #[derive(StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = OldRef)))]
        pub(super) struct Old {
            #[sabi(last_prefix_field)]
            pub(super) manifest: extern "C" fn() -> RVec<u8>,
        }

        pub(super) mod newer {
            use super::{RVec, StableAbi};

            #[repr(C)]
            #[derive(StableAbi)]
            #[sabi(kind(Prefix(prefix_ref = OldRef)))]
            pub(in super::super) struct Old {
                #[sabi(last_prefix_field)]
                pub(in super::super) manifest: extern "C" fn() -> RVec<u8>,
                pub(in super::super) added: extern "C" fn(u32) -> u32,
            }
        }

        pub(super) mod broken {
            use super::StableAbi;

            #[repr(C)]
            #[derive(StableAbi)]
            #[sabi(kind(Prefix(prefix_ref = OldRef)))]
            pub(in super::super) struct Old {
                #[sabi(last_prefix_field)]
                pub(in super::super) manifest: extern "C" fn() -> u64,
            }
        }
    }

    #[test]
    fn older_and_newer_plugins_of_one_major_fit_and_others_do_not() {
        let old = <grown::OldRef as StableAbi>::LAYOUT;
        let new = <grown::newer::OldRef as StableAbi>::LAYOUT;
        let broken = <grown::broken::OldRef as StableAbi>::LAYOUT;
        assert_eq!(fits(old, new), Ok(()), "a newer plugin in an older host");
        assert_eq!(fits(new, old), Ok(()), "an older plugin in a newer host");
        let error = fits(old, broken).unwrap_err();
        assert!(error.contains("u64"), "{error}");
    }
}
