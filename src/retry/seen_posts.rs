//! The posts that a worker has dealt with in a pass.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::post::PostId;

/// What was started, marked, or reported as malformed. A post can be found once more: a store finds what is due for one
/// reason after what is due for another, and posts are read anew when others claim them. Hashes need little memory, and a
/// post that is taken for another waits for the next pass.
#[derive(Debug, Default)]
pub(super) struct SeenPosts {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl SeenPosts {
    /// Adds a post; false if it is there already.
    pub(super) fn insert(&mut self, id: &PostId) -> bool {
        self.hashes.insert(self.hasher.hash_one(id))
    }

    pub(super) fn contains(&self, id: &PostId) -> bool {
        self.hashes.contains(&self.hasher.hash_one(id))
    }
}
