//! Pieces of Markdown.

/// A page that begins with a title and a word on where it comes from.
pub(super) fn head(title: &str, from: &str) -> String {
    format!(
        "# {title}\n\n<!-- Written by `cargo xtask book --bless`; changes made here are lost. -->\n\n{from}\n"
    )
}

/// A table with its empty line before; nothing without rows.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<String> = rows.into_iter().map(|row| line(&row.map(|text| cell(&text)))).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}|{}\n{}", line(&head.map(str::to_owned)), "---|".repeat(N), rows.concat())
}

fn line(cells: &[String]) -> String {
    let cells: String = cells
        .iter()
        .map(|cell| if cell.is_empty() { " |".to_owned() } else { format!(" {cell} |") })
        .collect();
    format!("|{cells}\n")
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ")
}

/// A name or a value, as code.
pub(super) fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// A doc comment as prose: one line, and links to items as their last names.
pub(super) fn prose(lines: &[&str]) -> String {
    let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        plain.push_str(before);
        plain.push_str(&code(name.rsplit("::").next().unwrap_or(name)));
        // The address of a link, if it has one, says where in the sources the name is.
        let address = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = address.map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// What stands between `<` and `>` in prose would be taken for HTML. In code it is left as it is.
pub(super) fn shown(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => part.replace('<', "&lt;"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_what_would_end_them() {
        let rows = [["a|b".to_owned(), "one\ntwo\n\nthree".to_owned()], ["c".to_owned(), String::new()]];
        let expected = "\n| x | y |\n|---|---|\n| a\\|b | one two<br>three |\n| c | |\n";
        assert_eq!(table(["x", "y"], rows), expected);
        assert_eq!(table(["x"], []), "");
    }

    #[test]
    fn links_to_items_become_names() {
        assert_eq!(
            prose(&[" [`super::Init`] as JSON,", " or [`code::DENIED`](super::code::DENIED)."]),
            "`Init` as JSON, or `DENIED`."
        );
        assert_eq!(prose(&[" `[{\"a\"}]` and [`unclosed"]), "`[{\"a\"}]` and [`unclosed");
    }

    #[test]
    fn nothing_in_prose_is_html() {
        assert_eq!(shown("a <b> and `<c>`"), "a &lt;b> and `<c>`");
    }
}
