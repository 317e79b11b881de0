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
    /// What was reported as malformed since the posts were last read anew. Some malformed posts have no id of their own,
    /// so each that a read finds is reported.
    malformed: Vec<u64>,
}

impl SeenPosts {
    /// Adds a post that was started or marked.
    pub(super) fn insert(&mut self, id: &PostId) {
        self.hashes.insert(self.hasher.hash_one(id));
    }

    /// Adds a malformed post; false if it was there before the posts were read anew.
    pub(super) fn insert_malformed(&mut self, id: &PostId) -> bool {
        let hash = self.hasher.hash_one(id);
        self.malformed.push(hash);
        !self.hashes.contains(&hash)
    }

    /// The posts are read anew.
    pub(super) fn start_new_round(&mut self) {
        self.hashes.extend(self.malformed.drain(..));
    }

    pub(super) fn contains(&self, id: &PostId) -> bool {
        self.hashes.contains(&self.hasher.hash_one(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_post_is_reported_as_often_as_it_is_found_but_not_once_more_after_a_new_read() {
        let mut seen = SeenPosts::default();
        let (odd, other) = (PostId::from_text("odd"), PostId::from_text("other"));
        assert!(seen.insert_malformed(&odd) && seen.insert_malformed(&odd));
        assert!(!seen.contains(&odd));
        seen.start_new_round();
        assert!(!seen.insert_malformed(&odd) && seen.insert_malformed(&other));
    }
}
