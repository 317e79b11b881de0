//! Other processes that work through the same posts.
//!
//! A pass starts the oldest posts first. If several passes did so at the same time, all would try to claim each post, and
//! only one of them would get it. So a worker that does not get its posts reads them anew, which leaves out those that
//! others have claimed, and begins at a random one. From there it continues in order, until it comes to where another
//! has begun.

use std::hash::{BuildHasher, RandomState};

/// How many posts in a row are not claimed before other processes are taken to be at work. A single one can be a post
/// that somebody has changed since it was read.
const NOT_CLAIMED_AT_FIRST: u32 = 2;

/// Whether other processes take the posts that a worker has read.
#[derive(Debug, Default)]
pub(super) struct Contention {
    not_claimed_in_row: u32,
    /// How often the posts were read anew.
    rounds: u64,
    hasher: RandomState,
}

impl Contention {
    pub(super) fn record_claimed(&mut self) {
        self.not_claimed_in_row = 0;
    }

    pub(super) fn record_not_claimed(&mut self) {
        self.not_claimed_in_row += 1;
    }

    /// Whether the posts should be read anew before the next one is tried. Stays true until a new round starts.
    pub(super) fn is_reread_needed(&self) -> bool {
        self.not_claimed_in_row >= if self.rounds == 0 { NOT_CLAIMED_AT_FIRST } else { 1 }
    }

    /// The posts are read anew.
    pub(super) fn start_new_round(&mut self) {
        self.not_claimed_in_row = 0;
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
    fn one_post_that_is_not_claimed_changes_nothing() {
        let mut contention = Contention::default();
        contention.record_not_claimed();
        contention.record_claimed();
        contention.record_not_claimed();
        assert!(!contention.is_reread_needed());
        let mut posts: Vec<u32> = (0..1_000).collect();
        contention.arrange(&mut posts);
        assert!(posts.is_sorted());
    }

    #[test]
    fn after_two_in_a_row_posts_are_tried_from_a_random_one_on() {
        let mut contention = Contention::default();
        contention.record_not_claimed();
        contention.record_not_claimed();
        assert!(contention.is_reread_needed());
        contention.start_new_round();
        assert!(!contention.is_reread_needed());
        contention.record_not_claimed();
        assert!(contention.is_reread_needed());
        let mut firsts: Vec<u32> = Vec::new();
        for _ in 0..20 {
            let mut posts: Vec<u32> = (0..1_000).collect();
            contention.arrange(&mut posts);
            let first = posts[0];
            firsts.push(first);
            posts.rotate_right(usize::try_from(first).unwrap());
            assert!(posts.is_sorted());
            contention.start_new_round();
        }
        firsts.dedup();
        assert!(firsts.len() > 10, "{firsts:?}");
        contention.arrange::<u32>(&mut []);
    }
}
