//! Other processes that work through the same posts.
//!
//! A pass starts the oldest posts first. Several passes that do so at the same time all try each post, and all but one
//! of them in vain. So a worker whose claims are refused reads the posts anew, which leaves out those that others have
//! claimed, and begins at a random one. It goes on in order from there, until it comes to where another has begun.

use std::hash::{BuildHasher, RandomState};

/// After how many refused claims in a row other processes are taken to be at work, for the first time. One alone can be a
/// post that somebody has changed since it was read.
const REFUSED_AT_FIRST: u32 = 2;

/// Whether other processes take the posts that a worker has read.
#[derive(Debug, Default)]
pub(super) struct Contention {
    refused_in_row: u32,
    /// How often the posts were read anew.
    rounds: u64,
    hasher: RandomState,
}

impl Contention {
    pub(super) fn claimed(&mut self) {
        self.refused_in_row = 0;
    }

    pub(super) fn claim_refused(&mut self) {
        self.refused_in_row += 1;
    }

    /// Whether it is better to read the posts anew than to try the next one. It is until that is done.
    pub(super) fn calls_for_new_read(&self) -> bool {
        self.refused_in_row >= if self.rounds == 0 { REFUSED_AT_FIRST } else { 1 }
    }

    /// The posts are read anew.
    pub(super) fn reads_anew(&mut self) {
        self.refused_in_row = 0;
        self.rounds += 1;
    }

    /// Puts posts into the order in which they are tried: theirs, but from a random one on if others are at work.
    pub(super) fn arrange<T>(&self, posts: &mut [T]) {
        if self.rounds > 0 && !posts.is_empty() {
            let random = usize::try_from(self.hasher.hash_one(self.rounds) >> 32).unwrap_or_default();
            posts.rotate_left(random % posts.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refused_claim_changes_nothing() {
        let mut contention = Contention::default();
        contention.claim_refused();
        contention.claimed();
        contention.claim_refused();
        assert!(!contention.calls_for_new_read());
        let mut posts: Vec<u32> = (0..1_000).collect();
        contention.arrange(&mut posts);
        assert!(posts.is_sorted());
    }

    #[test]
    fn after_two_in_a_row_posts_are_tried_from_a_random_one_on() {
        let mut contention = Contention::default();
        contention.claim_refused();
        contention.claim_refused();
        assert!(contention.calls_for_new_read());
        contention.reads_anew();
        assert!(!contention.calls_for_new_read());
        contention.claim_refused();
        assert!(contention.calls_for_new_read());
        let mut firsts: Vec<u32> = Vec::new();
        for _ in 0..20 {
            let mut posts: Vec<u32> = (0..1_000).collect();
            contention.arrange(&mut posts);
            let first = posts[0];
            firsts.push(first);
            posts.rotate_right(usize::try_from(first).unwrap());
            assert!(posts.is_sorted());
            contention.reads_anew();
        }
        firsts.dedup();
        assert!(firsts.len() > 10, "{firsts:?}");
        contention.arrange::<u32>(&mut []);
    }
}
