//! The plugin interface, and the messages between the programs.

use llmc_core::{ABI_SYMBOL, ABI_VERSION, Constant, op};
use llmc_wire::frame::{HEADER_BYTES, MAX_PAYLOAD_BYTES};
use llmc_wire::{MessageKind, host, runner};

use super::text::{code, head, prose, shown, table};

const FROM: &str = "\
What crosses between a plugin and its host, and between the programs of llmc. Authors of plugins in Rust need none of \
it: `llmc-core` speaks it for them.";

pub(super) fn page() -> String {
    let mut text = head("Plugin interface", FROM);
    text.push_str(&format!(
        "\n## Symbol and version\n\n\
         A plugin is a shared library that exports the symbol `{}`, an `abi_stable` library header. This llmc speaks \
         version {ABI_VERSION} of the interface; a plugin works with every llmc of the same major version, older or newer. \
         All growth happens in operations and in JSON; the types below stay as they are.\n\n\
         ```text\n{{{{#include ../../llmc-abi/tests/layout.txt}}}}\n```\n",
        ABI_SYMBOL.to_string_lossy()
    ));
    text.push_str(
        "\n## Operations\n\n\
         What a plugin can ask of its host (`Host::request`), with the JSON of the request and of the answer. A number \
         that the host does not know is answered with `UNSUPPORTED`. Error codes stand in \
         [Errors and codes](errors.md#codes-of-the-plugin-interface).\n",
    );
    text.push_str(&table(["Number", "Name", "Meaning"], op::ALL.iter().map(operation)));
    text.push_str(&format!(
        "\n## Frames\n\n\
         Server, hosts and runner exchange frames over Unix sockets: a header of {HEADER_BYTES} bytes (length, kind, number \
         of descriptors, code, call, sequence number; little endian) and at most {} MiB of payload. They are built \
         together and are no interface for others.\n",
        MAX_PAYLOAD_BYTES >> 20
    ));
    for (way, kinds) in [
        ("server to host", host::to_host::ALL),
        ("host to server", host::from_host::ALL),
        ("server to runner", runner::to_runner::ALL),
        ("runner to server", runner::from_runner::ALL),
    ] {
        text.push_str(&format!("\n### From {way}\n"));
        text.push_str(&table(["Kind", "Name", "Meaning"], kinds.iter().map(message)));
    }
    text
}

fn operation(op: &Constant) -> [String; 3] {
    [code(&op.value.to_string()), code(op.name), shown(&prose(op.doc))]
}

fn message(kind: &MessageKind) -> [String; 3] {
    [code(&kind.value.to_string()), code(kind.name), shown(&prose(kind.doc))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_frames_are_told() {
        let page = page();
        assert!(page.contains("`LLMC_PLUGIN_V1`") && page.contains("| `4` | `CALL_TOOL` |"), "{page}");
        assert!(
            page.contains("| `195` | `REFUSED` | `Refused` as JSON: nothing of `call` was executed. |"),
            "{page}"
        );
    }
}
