//! Globs for result files: `*` and `?` within a name, `**` for any number of directories.
//!
//! The code's interpreter finds the files (`python/files.py` does the same); here the paths that it names are judged.

/// A pattern for paths below the scratch directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<String>);

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.split('/').map(str::to_owned).collect())
    }

    /// Whether a path fits.
    pub(crate) fn fits(&self, path: &str) -> bool {
        let mut places = vec![false; self.0.len() + 1];
        places[0] = true;
        self.reach(&mut places);
        for name in path.split('/') {
            places = self.step(&places, name);
        }
        places[self.0.len()]
    }

    /// `**` may stand for nothing.
    fn reach(&self, places: &mut [bool]) {
        for (place, part) in self.0.iter().enumerate() {
            if places[place] && part == "**" {
                places[place + 1] = true;
            }
        }
    }

    fn step(&self, places: &[bool], name: &str) -> Vec<bool> {
        let mut after = vec![false; places.len()];
        for (place, part) in self.0.iter().enumerate().filter(|(place, _)| places[*place]) {
            if part == "**" {
                after[place] = true;
            } else if name_fits(part, name) {
                after[place + 1] = true;
            }
        }
        self.reach(&mut after);
        after
    }
}

/// Steps back to the last `*` only, so the time is the product of the lengths at most.
fn name_fits(part: &str, name: &str) -> bool {
    let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match part.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match &mut star {
                Some((from, retry)) => {
                    *retry += 1;
                    (at, place) = (*from + 1, *retry);
                }
                None => return false,
            },
        }
    }
    part[at..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        for (part, name, fits) in [
            ("a.txt", "a.txt", true),
            ("*.txt", "a.txt", true),
            ("*.txt", ".txt", true),
            ("*.txt", "a.txt2", false),
            ("?.txt", "ä.txt", true),
            ("?.txt", ".txt", false),
            ("*a*b*c", "xaybzbc", true),
            ("*a*b*c", "xaybzb", false),
            ("", "", true),
            ("*", "", true),
            ("a", "", false),
        ] {
            assert_eq!(name_fits(part, name), fits, "{part} {name}");
        }
        assert!(!name_fits(&"*a".repeat(500), &"a".repeat(400)), "in no time");
    }

    #[test]
    fn paths_fit() {
        for (pattern, path, fits) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("**/*.txt", "a.txt", true),
            ("**/*.txt", "d/e/a.txt", true),
            ("d/**", "d/e/a.txt", true),
            ("d/**", "e/a.txt", false),
            ("d/**/x/*.c", "d/x/a.c", true),
            ("d/**/x/*.c", "d/1/2/x/a.c", true),
            ("d/**/x/*.c", "d/1/2/x/y/a.c", false),
            ("**/**", "a", true),
            ("a", "a/b", false),
            ("a/b", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(path), fits, "{pattern} {path}");
        }
    }
}
