//! What the kernel enforces, as found and not as hoped for.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::Layer;

/// How strong the walls are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Own namespaces and own root, then Landlock, then seccomp.
    Namespaces,
    /// Landlock and seccomp only: the kernel granted no namespaces. Existence and size of files stay visible.
    Landlock,
}

/// One layer that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnforcedLayer {
    /// Name of the layer.
    pub name: &'static str,
    /// What it does here.
    pub detail: Cow<'static, str>,
}

/// Everything that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Strength of the whole.
    pub isolation: Isolation,
    /// The layers, in the order in which they were put up.
    pub layers: Vec<EnforcedLayer>,
    /// What does not hold although one would want it, each with its reason.
    pub gaps: Vec<Cow<'static, str>>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { isolation: Isolation::Landlock, layers: Vec::new(), gaps: Vec::new() }
    }

    pub(crate) fn enforced(&mut self, layer: Layer, detail: impl Into<Cow<'static, str>>) {
        self.layers.push(EnforcedLayer { name: layer.name(), detail: detail.into() });
    }

    pub(crate) fn gap(&mut self, why: impl Into<Cow<'static, str>>) {
        self.gaps.push(why.into());
    }
}
