//! How what is staged was built, for the commands that repeat a run.

/// With optimisation or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    Optimised,
    Unoptimised,
}

impl Build {
    pub(crate) fn new(is_release: bool) -> Self {
        if is_release { Self::Optimised } else { Self::Unoptimised }
    }

    /// What repeats a run of the same build; verbs differ in what they take unless told, so it is always said.
    pub(crate) fn command(self, verb: &str, arguments: &str) -> String {
        let flag = match self {
            Self::Optimised => "--release",
            Self::Unoptimised => "--debug",
        };
        format!("cargo xtask {verb} {flag} -- {arguments}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_the_build() {
        let command = |is_release| Build::new(is_release).command("soak", "--calls 5");
        assert_eq!(command(true), "cargo xtask soak --release -- --calls 5");
        assert_eq!(command(false), "cargo xtask soak --debug -- --calls 5");
    }
}
