//! Files: `read_file`, `list_dir` and `stat`, inside the directories that the operator granted.
//!
//! Every path is opened by the kernel relative to an already open root, with `openat2` and `RESOLVE_BENEATH`: what
//! leads out of the root is refused at the moment of opening, so there is no check that could come too early.
//! Symbolic links that stay inside the root are followed. `path` is pure and only finds the root; `root` is the
//! only place that opens anything.
//!
//! Left out on purpose: any path from `/`, and any decision based on the text of a path.

#![forbid(unsafe_code)]

mod kind;
pub mod limits;
mod list_dir;
mod media;
mod path;
mod read_file;
mod root;
mod stat;
#[cfg(test)]
mod testing;
mod text;
mod time;
mod window;

pub use list_dir::ListDir;
pub use read_file::ReadFile;
pub use stat::Stat;

llmc_core::export_plugin!("fs": ReadFile, ListDir, Stat;
    grants = [roots: "reads and lists the files that tools are asked for"]);
