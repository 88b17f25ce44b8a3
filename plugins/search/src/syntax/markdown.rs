//! The headings of Markdown.

use super::{Kind, Outline, Symbol};

/// Each heading reaches to the next one of its level or above; fenced code is no heading.
pub(super) fn outline(text: &str) -> Outline {
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut fence: Option<&str> = None;
    let mut line_count = 0;
    for (number, line) in (1u32..).zip(text.lines()) {
        line_count = number;
        let trimmed = line.trim_start();
        if let Some(mark) = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark)) {
            match fence {
                None => fence = Some(mark),
                Some(open) if open == mark => fence = None,
                Some(_) => {}
            }
            continue;
        }
        let Some((level, title)) = heading(line).filter(|_| fence.is_none()) else { continue };
        while let Some((_, index)) = open.pop_if(|(above, _)| *above >= level) {
            symbols[index].last_line = number - 1;
        }
        symbols.push(Symbol {
            name: title.to_owned(),
            kind: Kind::Heading,
            first_line: number,
            last_line: number,
            name_line: number,
            parent: open.last().map(|(_, index)| *index),
            signature: line.trim_end().to_owned(),
        });
        open.push((level, symbols.len() - 1));
    }
    for (_, index) in open {
        symbols[index].last_line = line_count;
    }
    Outline { symbols, uses: Vec::new() }
}

/// Level and title of `## Title ##`.
fn heading(line: &str) -> Option<(usize, &str)> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    let title = rest.trim().trim_end_matches('#').trim_end();
    ((1..=6).contains(&level) && rest.starts_with([' ', '\t']) && !title.is_empty()).then_some((level, title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_reach_to_the_next_one() {
        let outline = outline("# A\ntext\n## B ##\n```sh\n# no heading\n```\n### C\n## D\nend\n#E\n");
        let found: Vec<_> = outline
            .symbols
            .iter()
            .map(|symbol| (symbol.name.as_str(), symbol.first_line, symbol.last_line, symbol.parent))
            .collect();
        assert_eq!(
            found,
            [("A", 1, 10, None), ("B", 3, 7, Some(0)), ("C", 7, 7, Some(1)), ("D", 8, 10, Some(0))]
        );
    }
}
