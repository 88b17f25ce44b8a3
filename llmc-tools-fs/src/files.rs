//! The files of the roots as resources, for clients that put data into a conversation by its address: with the same
//! way in, and the same rights, as `read_file`.

use llmc_core::envelope::EmbeddedResource;
use llmc_core::{
    Completion, Context, Explain, Resource, ResourceLink, ResourceUri, Root, ToolError, ToolResult,
};
use rustix::fs::OFlags;

use crate::kind::Kind;
use crate::limits::{MAX_LISTED_RESOURCES, MAX_RESOURCE_BYTES};
use crate::media::{self, HEAD_BYTES, Meaning, Media};
use crate::path::{PathError, Place, in_line};
use crate::{list_dir, root};

/// What stands before the name of the root.
const SCHEME: &str = "root://";

/// `root://work/src/main.rs`.
pub struct Files;

impl Resource for Files {
    const NAME: &'static str = "files";
    const URI: &'static str = "root://{root}/{+path}";
    const DESCRIPTION: &'static str = "A file in a granted directory.";
    const RIGHTS_OF: &'static str = "read_file";
    const LISTS: &'static str = "list_dir";

    fn read(uri: &ResourceUri, ctx: &Context) -> ToolResult<Vec<EmbeddedResource>> {
        let roots = ctx.roots()?;
        let (name, path) = (uri.variable("root"), uri.variable("path"));
        // An unknown root is told apart from nothing but a missing file: names of roots are no secret.
        if !roots.iter().any(|root| root.name == name) {
            return Err(ToolError::not_found(format!("there is no root `{}`", in_line(name))));
        }
        let place = Place::parse(&format!("{name}:{path}"), roots).map_err(|error| match error {
            PathError::Empty => ToolError::not_found("the address names no file"),
            error => ToolError::from(error),
        })?;
        let (file, size) = root::open_file(&place)?;
        if size > MAX_RESOURCE_BYTES {
            let message = format!(
                "cannot read `{}` as a resource: it has {size} bytes, the limit is {MAX_RESOURCE_BYTES}; `read_file` \
                 reads a part",
                in_line(&place.display())
            );
            return Err(ToolError::failed(message));
        }
        let bytes = contents(file).explain(format_args!("cannot read `{}`", in_line(&place.display())))?;
        Ok(vec![resource(&uri.uri, bytes)])
    }

    /// The files at the top of each root: where one begins to look.
    fn list(ctx: &Context) -> ToolResult<Vec<ResourceLink>> {
        let mut links = Vec::new();
        for root in ctx.roots()? {
            // A root that cannot be listed must not hide the others.
            links.extend(top(root, ctx).unwrap_or_default());
        }
        links.truncate(MAX_LISTED_RESOURCES);
        Ok(links)
    }

    fn complete(variable: &str, value: &str, ctx: &Context) -> ToolResult<Completion> {
        if variable != "root" {
            return Ok(Completion::default());
        }
        Ok(ctx.roots()?.iter().map(|root| root.name.clone()).filter(|name| name.starts_with(value)).collect())
    }
}

fn top(root: &Root, ctx: &Context) -> ToolResult<Vec<ResourceLink>> {
    let place = Place { root, path: ".".into() };
    let dir = root::open(&place, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|error| error.explain("list", &place))?;
    let mut names = list_dir::shown_names(&dir, ctx)?;
    names.sort_unstable();
    let files = names.into_iter().filter(|(_, kind)| *kind == Kind::File);
    let links = files.filter_map(|(name, _)| {
        let name = String::from_utf8(name.into_vec()).ok()?;
        Some(ResourceLink {
            uri: format!("{SCHEME}{}/{}", root.name, encoded(&name)),
            name,
            ..ResourceLink::default()
        })
    });
    Ok(links.take(MAX_LISTED_RESOURCES).collect())
}

/// The whole of a file that says that it is small. It may grow meanwhile; what is too much is cut off.
fn contents(file: std::os::fd::OwnedFd) -> ToolResult<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(MAX_RESOURCE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn resource(uri: &str, bytes: Vec<u8>) -> EmbeddedResource {
    if let Some(Media { meaning: Meaning::Image(mime_type), .. }) =
        media::detect(&bytes[..bytes.len().min(HEAD_BYTES)])
    {
        return EmbeddedResource::blob(uri, mime_type, &bytes);
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => EmbeddedResource::text(uri, "text/plain", text),
        Ok(text) => EmbeddedResource::blob(uri, "application/octet-stream", text.as_bytes()),
        Err(error) => EmbeddedResource::blob(uri, "application/octet-stream", error.as_bytes()),
    }
}

/// A name as a part of an address, see RFC 3986, section 2.3.
fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use llmc_core::Access;
    use llmc_core::testing::Harness;

    use super::*;

    fn harness(folder: &std::path::Path) -> Harness {
        Harness::new().root("work", folder, Access::Ro)
    }

    fn read(folder: &std::path::Path, path: &str) -> ToolResult<EmbeddedResource> {
        let uri = format!("root://work/{path}");
        let read = harness(folder).read::<Files>(&uri, &[("root", "work"), ("path", path)]);
        read.map(|mut read| read.remove(0))
    }

    #[test]
    fn files_are_texts_or_bytes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b.txt"), "first\n").unwrap();
        std::fs::write(folder.path().join("c.bin"), b"\xff\x00").unwrap();
        let text = read(folder.path(), "a b.txt").unwrap();
        assert_eq!((text.text.as_deref(), text.mime_type.as_deref()), (Some("first\n"), Some("text/plain")));
        assert_eq!(read(folder.path(), "c.bin").unwrap().blob.as_deref(), Some("/wA="));
    }

    #[test]
    fn what_is_outside_or_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let large = std::fs::File::create(folder.path().join("large")).unwrap();
        large.set_len(MAX_RESOURCE_BYTES + 1).unwrap();
        for path in ["../outside", "link", "/etc/passwd", "dir", "large", "none", "", "work:a"] {
            let refused = read(folder.path(), path).unwrap_err();
            assert!(!refused.message().contains("root:x"), "{path}: {refused}");
        }
        let elsewhere =
            harness(folder.path()).read::<Files>("root://other/a", &[("root", "other"), ("path", "a")]);
        assert_eq!(elsewhere.unwrap_err().code(), llmc_core::code::UNKNOWN_ITEM);
    }

    #[test]
    fn the_top_of_each_root_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a b.txt", ".hidden"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("dir")).unwrap();
        let listed = Files::list(&harness(folder.path()).context()).unwrap();
        let uris: Vec<_> = listed.iter().map(|link| link.uri.as_str()).collect();
        assert_eq!(uris, ["root://work/a%20b.txt", "root://work/b.txt"]);
        let roots = Files::complete("root", "wo", &harness(folder.path()).context()).unwrap();
        assert_eq!(roots.values, ["work"]);
    }
}
