//! What [`export_plugin!`](crate::export_plugin) expands to. Not for direct use.
#![expect(unsafe_code, reason = "an exported header vouches for the type of the root module behind it")]

use std::sync::Arc;
use std::time::Duration;

pub use llmc_abi::abi_stable::library::LibHeader;
use llmc_abi::abi_stable::library::{CheckTypeLayout, RootModuleResult};
use llmc_abi::abi_stable::prefix_type::{PrefixRefTrait as _, WithMetadata};
use llmc_abi::abi_stable::std_types::{RResult, RSlice, RVec};
use llmc_abi::{CallCtx, CallResult, Plugin, PluginRef, code};
use schemars::JsonSchema;
use serde_json::Value;

pub use crate::manifest::{GrantKind, GrantRequest};
use crate::manifest::{Item, ItemKind, Manifest};
use crate::{
    Context, Output as _, Prompt, Resource, Tool, ToolError, ToolResult, panic, prompt, resource, schema,
    tool,
};

/// Exports tools as a plugin. Once per crate, in a crate of type `cdylib`.
///
/// ```ignore
/// export_plugin!("hello": Hello);
///
/// export_plugin!("files": ReadFile, WriteFile;
///     prompts = [Review];
///     resources = [Files];
///     grants = [roots: "reads and writes the files that tools are asked for"];
///     config = Settings);
/// ```
///
/// Version and description are those of the crate. `prompts` and `resources` are types that implement
/// [`Prompt`](crate::Prompt) and [`Resource`](crate::Resource). `grants` tells the operator which kinds of grant the plugin
/// would like (`roots`, `run`, `tools`, `secrets`, `net`) and why. `config` is the type that
/// [`Context::config`](crate::Context::config) reads; mark it with `#[arguments]`.
#[macro_export]
macro_rules! export_plugin {
    (
        $name:literal: $($tool:ty),+ $(,)?
        $(; prompts = [$($prompt:ty),* $(,)?])?
        $(; resources = [$($resource:ty),* $(,)?])?
        $(; grants = [$($grant:ident: $reason:literal),* $(,)?])?
        $(; config = $config:ty)?
        $(;)?
    ) => {
        const _: () = {
            struct Exported;

            impl $crate::export::Exports for Exported {
                const NAME: &'static str = $name;
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
                const DESCRIPTION: &'static str = ::core::env!("CARGO_PKG_DESCRIPTION");
                const ITEMS: &'static [$crate::export::Entry] = &[
                    $($crate::export::Entry::of::<$tool>(),)+
                    $($($crate::export::Entry::of_prompt::<$prompt>(),)*)?
                    $($($crate::export::Entry::of_resource::<$resource>(),)*)?
                ];
                const REQUESTS: &'static [($crate::export::GrantKind, &'static str)] =
                    &[$($(($crate::export_plugin!(@grant $grant), $reason)),*)?];
                $(
                    fn config_schema() -> ::core::option::Option<$crate::serde_json::Value> {
                        ::core::option::Option::Some($crate::export::schema_of::<$config>())
                    }
                )?
            }

            const _: () = $crate::export::check_names(<Exported as $crate::export::Exports>::ITEMS);

            #[unsafe(no_mangle)]
            static LLMC_PLUGIN_V1: $crate::export::LibHeader = $crate::export::header::<Exported>();
        };
    };
    (@grant roots) => { $crate::export::GrantKind::Roots };
    (@grant run) => { $crate::export::GrantKind::Run };
    (@grant tools) => { $crate::export::GrantKind::Tools };
    (@grant secrets) => { $crate::export::GrantKind::Secrets };
    (@grant net) => { $crate::export::GrantKind::Net };
    (@grant state) => { $crate::export::GrantKind::State };
}

/// What a plugin exports.
pub trait Exports: 'static {
    /// Name of the plugin.
    const NAME: &'static str;
    /// Version of the plugin.
    const VERSION: &'static str;
    /// What the plugin is for.
    const DESCRIPTION: &'static str;
    /// Its tools, prompts and resources, in the order of the manifest.
    const ITEMS: &'static [Entry];
    /// The grants it would like, with reasons.
    const REQUESTS: &'static [(GrantKind, &'static str)];

    /// The schema of its configuration.
    fn config_schema() -> Option<Value> {
        None
    }
}

/// A tool, prompt or resource without its type.
pub struct Entry {
    name: &'static str,
    item: fn() -> Item,
    call: fn(&Context, &[u8]) -> ToolResult<Vec<u8>>,
}

impl Entry {
    /// The entry of `T`.
    pub const fn of<T: Tool>() -> Self {
        Self { name: T::NAME, item: item_of::<T>, call: call_of::<T> }
    }

    /// The entry of a prompt.
    pub const fn of_prompt<T: Prompt>() -> Self {
        Self { name: T::NAME, item: prompt::item_of::<T>, call: prompt::call_of::<T> }
    }

    /// The entry of a resource.
    pub const fn of_resource<T: Resource>() -> Self {
        Self { name: T::NAME, item: resource::item_of::<T>, call: resource::call_of::<T> }
    }
}

/// How a tool appears in the manifest.
pub(crate) fn item_of<T: Tool>() -> Item {
    Item {
        kind: ItemKind::Tool,
        name: T::NAME.to_owned(),
        title: tool::title_of(T::NAME, T::TITLE),
        description: T::description(),
        input_schema: T::input_schema(),
        output_schema: T::output_schema(),
        annotations: T::ANNOTATIONS,
        long: T::LONG,
        resource: None,
    }
}

/// Parses, calls and wraps the answer; panics become errors.
pub(crate) fn call_of<T: Tool>(ctx: &Context, arguments: &[u8]) -> ToolResult<Vec<u8>> {
    panic::caught(|| tool::parse::<T>(T::NAME, arguments)?.call(ctx)?.into_json())
}

/// Whether a type of arguments says what its tool does; `#[arguments]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not marked `#[arguments]`",
    note = "the first parameter of a tool is a struct marked `#[arguments]`, with a doc comment on it and on its fields"
)]
pub trait Described {
    /// It has a doc comment.
    const DESCRIBED: bool;
}

/// Names the `T` of a `ToolResult<T>`.
pub trait Returned {
    /// What is returned on success.
    type Value;
}

impl<T> Returned for ToolResult<T> {
    type Value = T;
}

/// The schema of a configuration.
pub fn schema_of<T: JsonSchema>() -> Value {
    schema::of_input::<T>().schema
}

/// The header behind the exported symbol.
pub const fn header<P: Exports>() -> LibHeader {
    // SAFETY: `root::<P>` returns an erased `PluginRef`, the type that the header is made for.
    unsafe { LibHeader::from_constructor::<PluginRef>(root::<P>, CheckTypeLayout::Yes) }
}

extern "C" fn root<P: Exports>() -> RootModuleResult {
    let prefix = Vtable::<P>::REF.to_prefix_ref();
    // SAFETY: erasing the type is what the header wants; it casts back after it has checked the layout.
    RResult::ROk(unsafe { prefix.cast() })
}

struct Vtable<P>(P);

impl<P: Exports> Vtable<P> {
    const FUNCTIONS: &'static WithMetadata<Plugin> =
        &WithMetadata::new(Plugin { manifest: manifest::<P>, call: call::<P> });
    const REF: PluginRef = PluginRef(Self::FUNCTIONS.static_as_prefix());
}

extern "C" fn manifest<P: Exports>() -> RVec<u8> {
    let json = panic::caught(|| Ok(serde_json::to_vec(&manifest_of::<P>())?));
    json.unwrap_or_else(|error| {
        eprintln!("the manifest of plugin `{}` cannot be built: {error}", P::NAME);
        Vec::new()
    })
    .into()
}

fn manifest_of<P: Exports>() -> Manifest {
    let request =
        |(grant, reason): &(GrantKind, &str)| GrantRequest { grant: *grant, reason: (*reason).into() };
    Manifest {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        abi: llmc_abi::VERSION.to_owned(),
        description: P::DESCRIPTION.to_owned(),
        items: P::ITEMS.iter().map(|entry| (entry.item)()).collect(),
        requests: P::REQUESTS.iter().map(request).collect(),
        config_schema: P::config_schema(),
    }
}

extern "C" fn call<P: Exports>(ctx: &CallCtx, item: u32, args: RSlice<'_, u8>) -> CallResult {
    let answer = panic::caught(|| {
        let entry = find::<P>(item)?;
        let time_left = Duration::from_millis(ctx.deadline_ms);
        let context = Context::new(ctx.call, time_left, Arc::new(ctx.host));
        (entry.call)(&context, args.as_slice())
    });
    match answer {
        Ok(json) => RResult::ROk(json.into()),
        Err(error) => RResult::RErr(error.into()),
    }
}

fn find<P: Exports>(item: u32) -> ToolResult<&'static Entry> {
    let index = usize::try_from(item).unwrap_or(usize::MAX);
    P::ITEMS.get(index).ok_or_else(|| {
        let count = P::ITEMS.len();
        ToolError::new(code::UNKNOWN_ITEM, format!("plugin `{}` has no item {item}, only {count}", P::NAME))
    })
}

/// Stops the build when a name does not match `^[a-z][a-z0-9_]{0,63}$` or two of the plugin share one.
pub const fn check_names(tools: &[Entry]) {
    let mut i = 0;
    while i < tools.len() {
        let name = tools[i].name.as_bytes();
        assert!(is_valid(name), "a name must match ^[a-z][a-z0-9_]{{0,63}}$");
        let mut j = 0;
        while j < i {
            assert!(
                !same(name, tools[j].name.as_bytes()),
                "two tools, prompts or resources of the plugin have the same name"
            );
            j += 1;
        }
        i += 1;
    }
}

const fn is_valid(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > 64 || !name[0].is_ascii_lowercase() {
        return false;
    }
    let mut i = 1;
    while i < name.len() {
        if !matches!(name[i], b'a'..=b'z' | b'0'..=b'9' | b'_') {
            return false;
        }
        i += 1;
    }
    true
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use llmc_abi::abi_stable::std_types::{RBoxError, ROption};
    use llmc_abi::{Host, HostRef, op};

    use super::*;
    use crate::prelude::*;

    /// Divides.
    #[arguments(undocumented)]
    struct DivideNumbers {
        by: u32,
    }

    #[tool(READ_ONLY.idempotent(false))]
    fn divide_numbers(args: DivideNumbers, _ctx: &Context) -> ToolResult<String> {
        Ok((84 / args.by).to_string())
    }

    /// Asks the host.
    #[arguments]
    struct Ask;

    impl Tool for Ask {
        const NAME: &'static str = "ask";
        const TITLE: &'static str = "Ask the host";
        type Output = Envelope;
        fn call(self, ctx: &Context) -> ToolResult<Envelope> {
            let ctx = ctx.clone();
            let other_thread = std::thread::spawn(move || ctx.request(op::CONFIG, &json!({"a": 1})));
            let answer: Value =
                other_thread.join().map_err(|_| ToolError::failed("the thread panicked"))??;
            Ok(Envelope::text(answer.to_string()))
        }
    }

    #[arguments(undocumented)]
    struct Settings {
        #[serde(default)]
        verbose: bool,
    }

    // What the macro writes, with a name.
    struct Sample;

    impl Exports for Sample {
        const NAME: &'static str = "sample";
        const VERSION: &'static str = "1.2.3";
        const DESCRIPTION: &'static str = "For tests";
        const ITEMS: &'static [Entry] = &[Entry::of::<DivideNumbers>(), Entry::of::<Ask>()];
        const REQUESTS: &'static [(GrantKind, &'static str)] = &[(GrantKind::Roots, "reads files")];
        fn config_schema() -> Option<Value> {
            Some(schema_of::<Settings>())
        }
    }

    extern "C" fn answer(call: u64, op: u32, body: RSlice<'_, u8>) -> CallResult {
        let text = format!("{{\"call\":{call},\"op\":{op},\"body\":{}}}", String::from_utf8_lossy(&body));
        RResult::ROk(text.into_bytes().into())
    }

    fn call_sample(item: u32, args: &[u8]) -> Result<Value, llmc_abi::ToolError> {
        let host = HostRef(const { &WithMetadata::new(Host { request: answer }) }.static_as_prefix());
        let ctx = CallCtx { call: 7, deadline_ms: u64::MAX, host };
        let json = call::<Sample>(&ctx, item, RSlice::from_slice(args)).into_result()?;
        Ok(serde_json::from_slice(&json).unwrap())
    }

    #[test]
    fn the_manifest_says_everything() {
        let manifest: Manifest = serde_json::from_slice(&manifest::<Sample>()).unwrap();
        assert_eq!(manifest.name, "sample");
        assert_eq!(manifest.version, "1.2.3");
        assert_eq!(manifest.abi, llmc_abi::VERSION);
        assert_eq!(
            manifest.requests,
            [GrantRequest { grant: GrantKind::Roots, reason: "reads files".into() }]
        );
        assert_eq!(manifest.config_schema.unwrap()["properties"]["verbose"]["type"], "boolean");
        let [divide, ask] = manifest.items.try_into().unwrap();
        assert_eq!((divide.name.as_str(), divide.title.as_str()), ("divide_numbers", "Divide numbers"));
        assert_eq!(divide.annotations, Annotations::READ_ONLY.idempotent(false));
        assert_eq!(divide.output_schema.unwrap()["properties"], json!({"text": {"type": "string"}}));
        assert_eq!((ask.title.as_str(), ask.annotations), ("Ask the host", Annotations::new()));
        assert_eq!(ask.output_schema, None);
    }

    #[test]
    fn a_call_is_parsed_served_and_wrapped() {
        let envelope = call_sample(0, br#"{"by":2}"#).unwrap();
        assert_eq!(
            envelope,
            json!({"structured": {"text": "42"}, "content": [{"type": "text", "text": "42"}]})
        );
    }

    #[test]
    fn a_tool_reaches_the_host_from_any_thread() {
        let envelope = call_sample(1, b"{}").unwrap();
        assert_eq!(envelope["content"][0]["text"], r#"{"body":{"a":1},"call":7,"op":10}"#);
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_place() {
        let error = call_sample(0, br#"{"by":0}"#).unwrap_err();
        assert_eq!(error.code, code::PANICKED);
        let message = error.message.as_str();
        assert!(message.starts_with("panicked at llmc-core/src/export.rs:"), "{message}");
        assert!(message.ends_with(": attempt to divide by zero"), "{message}");
        assert!(call_sample(0, br#"{"by":1}"#).is_ok(), "the next call is served");
    }

    #[test]
    fn wrong_arguments_are_named() {
        let message = |args: &[u8]| call_sample(0, args).unwrap_err().message.to_string();
        assert_eq!(message(b"{}"), "invalid arguments for `divide_numbers`: missing field `by`");
        assert_eq!(
            message(br#"{"by":1,"bye":1}"#),
            "invalid arguments for `divide_numbers` at `bye`: unknown field `bye`, expected `by`"
        );
        assert_eq!(
            message(br#"{"by":-1}"#),
            "invalid arguments for `divide_numbers` at `by`: invalid value: integer `-1`, expected u32"
        );
        assert!(message(b"{\"by\"").starts_with("invalid arguments for `divide_numbers`: EOF"));
    }

    #[test]
    fn an_unknown_item_is_an_error() {
        let error = call_sample(2, b"{}").unwrap_err();
        assert_eq!(error.code, code::UNKNOWN_ITEM);
        assert_eq!(error.message, "plugin `sample` has no item 2, only 2");
        assert_eq!(error.data, ROption::RNone);
        assert!(call_sample(u32::MAX, b"{}").is_err());
    }

    #[test]
    fn the_header_leads_to_the_plugin() {
        static HEADER: LibHeader = header::<Sample>();
        let plugin = HEADER.init_root_module::<PluginRef>().map_err(RBoxError::new).unwrap();
        let manifest: Manifest = serde_json::from_slice(&plugin.manifest()()).unwrap();
        assert_eq!(manifest.name, "sample");
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "read_file", "x2", &"a".repeat(64)] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in ["", "_a", "2x", "Read", "read-file", "é", &"a".repeat(65)] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
        let twins = [Entry::of::<Ask>(), Entry::of::<Ask>()];
        assert!(std::panic::catch_unwind(|| check_names(&twins)).is_err());
    }
}
