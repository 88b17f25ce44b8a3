//! In the place of models in a library that was built without them.

use std::os::fd::BorrowedFd;

/// There is none.
#[derive(Debug)]
pub(crate) enum Model {}

impl Model {
    pub(crate) fn load(_folder: BorrowedFd<'_>) -> Result<Self, String> {
        Err("this library was built without the feature `embeddings`".into())
    }

    pub(crate) fn id(&self) -> &str {
        match *self {}
    }

    pub(crate) fn vector(&self, _text: &str) -> Option<Vec<i8>> {
        match *self {}
    }
}
