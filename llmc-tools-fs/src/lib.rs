//! Files and directories, inside those that the operator granted: reading, finding, searching, writing, editing,
//! moving, copying and deleting.
//!
//! Everything is opened relative to an already open directory, and the kernel or a walk by single names keeps it in
//! the root, so there is no check that could come too early:
//!
//! - `path` is pure and only finds the root that a text is about.
//! - `root` opens what is read, with `openat2` and `RESOLVE_BENEATH`. Symbolic links that stay inside are followed.
//! - `target` finds what is changed: an open parent directory, a name in it, and the path that is really meant, which
//!   `protected` compares with what must stay as it is.
//! - `walk` and `tree_work` go through trees, to read and to change them, and follow no link at all.
//!
//! Left out on purpose: any path from `/`, and any decision about inside and outside by the text of a path.

#![forbid(unsafe_code)]

mod append_file;
mod contents;
mod copy_path;
mod create_dir;
mod delete_path;
pub mod edit;
mod edit_file;
mod files;
mod find_files;
mod kind;
pub mod limits;
mod list_dir;
mod media;
mod move_path;
pub mod path;
mod protected;
mod read_file;
mod read_files;
mod removal;
mod root;
mod search;
mod search_files;
mod stat;
mod target;
#[cfg(test)]
mod testing;
mod text;
mod time;
mod tree;
mod tree_work;
mod walk;
mod window;
mod write;
mod write_file;

pub use append_file::AppendFile;
pub use copy_path::CopyPath;
pub use create_dir::CreateDir;
pub use delete_path::DeletePath;
pub use edit_file::EditFile;
pub use files::Files;
pub use find_files::FindFiles;
pub use list_dir::ListDir;
pub use move_path::MovePath;
pub use read_file::ReadFile;
pub use read_files::ReadFiles;
pub use search_files::SearchFiles;
pub use stat::Stat;
pub use tree::Tree;
pub use write_file::WriteFile;

llmc_core::export_plugin!("fs":
    ReadFile, ReadFiles, ListDir, Tree, Stat, FindFiles, SearchFiles,
    WriteFile, AppendFile, EditFile, CreateDir, MovePath, CopyPath, DeletePath;
    resources = [Files];
    grants = [roots: "reads, finds and changes the files that tools are asked for"]);
