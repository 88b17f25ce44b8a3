//! The layout of the interface is frozen: it is compared with `layout.txt`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use llmc_abi::PluginRef;
use llmc_abi::abi_stable::StableAbi;
use llmc_abi::abi_stable::type_layout::{TLFunction, TypeLayout};

#[test]
#[cfg(target_pointer_width = "64")]
fn the_layout_is_frozen() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout.txt");
    let layout = describe(<PluginRef as StableAbi>::LAYOUT);
    if std::env::var_os("LLMC_BLESS").is_some() {
        std::fs::write(&file, &layout).unwrap();
    }
    let frozen = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        layout == frozen,
        "the layout of the plugin interface differs from {}.\nPlugins that exist would no longer load: give the \
         change an op code or a JSON field instead, or raise the major version.\nTo write the new layout: \
         LLMC_BLESS=1 cargo test -p llmc-abi\n\n{layout}",
        file.display()
    );
}

/// The layout of a type and of every type that it refers to, each once.
fn describe(root: &'static TypeLayout) -> String {
    let mut text = format!("symbol {}\n", llmc_abi::SYMBOL.to_string_lossy());
    let mut seen = BTreeSet::new();
    let mut waiting = vec![root];
    while let Some(layout) = waiting.pop() {
        let name = name_of(layout);
        if !seen.insert(name.clone()) {
            continue;
        }
        let _ = writeln!(text, "\n{name}: size {}, align {}", layout.size(), layout.alignment());
        for field in layout.get_fields().into_iter().flatten() {
            if field.is_function() {
                for function in field.function_range() {
                    let _ = writeln!(text, "    {}: {}", field.name(), signature(&function));
                }
            } else {
                let _ = writeln!(text, "    {}: {}", field.name(), name_of(field.layout()));
            }
        }
        waiting.extend(layout.shared_vars().type_layouts().iter().rev().map(|layout| layout()));
    }
    text
}

fn signature(function: &TLFunction) -> String {
    let name = |layout: extern "C" fn() -> &'static TypeLayout| name_of(layout());
    let parameters: Vec<_> = function.param_type_layouts.iter().map(name).collect();
    let returned = function.return_type_layout().map_or_else(|| "()".to_owned(), name);
    format!("fn({}) -> {returned}", parameters.join(", "))
}

fn name_of(layout: &'static TypeLayout) -> String {
    layout.full_type().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
