//! The chunk plan of an upload: the floor rule of the "Media Transfer Guide" on <https://developers.tiktok.com>.
#![warn(clippy::arithmetic_side_effects)]

/// Up to this size a file can go in one chunk, whether TikTok's MB are 10^6 or 2^20 bytes.
const MAX_SINGLE: u64 = 64_000_000;

/// The size of the chunks of a larger file; safe for both meanings of MB too.
const CHUNK: u64 = 10_000_000;

/// The most chunks that an upload may have.
const MAX_CHUNKS: u64 = 1000;

/// How a file is cut up: all chunks have the same size, but the last has the remainder too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkPlan {
    /// Bytes of the file; not 0.
    pub(super) size: u64,
    /// Bytes of every chunk but the last.
    pub(super) chunk_size: u64,
    /// ⌊size / chunk size⌋.
    pub(super) count: u64,
}

impl ChunkPlan {
    pub(super) fn for_size(size: u64) -> Self {
        if size <= MAX_SINGLE {
            return Self { size, chunk_size: size, count: 1 };
        }
        let chunk_size = CHUNK.max(size.div_ceil(MAX_CHUNKS));
        Self { size, chunk_size, count: size.checked_div(chunk_size).unwrap_or(1) }
    }

    /// The end of the chunk that `offset` lies in.
    pub(super) fn chunk_end(&self, offset: u64) -> u64 {
        let last = self.count.saturating_sub(1);
        let index = offset.checked_div(self.chunk_size).unwrap_or(last);
        if index >= last { self.size } else { index.saturating_add(1).saturating_mul(self.chunk_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vendors_example_holds() {
        let plan = ChunkPlan { size: 50_000_123, chunk_size: 10_000_000, count: 5 };
        assert_eq!(plan.chunk_end(40_000_000), 50_000_123);
        assert_eq!(plan.chunk_end(39_999_999), 40_000_000);
    }

    #[test]
    fn small_files_go_in_one_chunk_and_larger_ones_do_not() {
        assert_eq!(ChunkPlan::for_size(1), ChunkPlan { size: 1, chunk_size: 1, count: 1 });
        assert_eq!(ChunkPlan::for_size(64_000_000).count, 1);
        assert_eq!(ChunkPlan::for_size(64_000_001).count, 6);
    }

    proptest! {
        #[test]
        fn every_plan_covers_the_file_within_tiktoks_bounds(size in 1u64..4_294_967_296) {
            let plan = ChunkPlan::for_size(size);
            prop_assert_eq!(Some(plan.count), size.checked_div(plan.chunk_size));
            prop_assert!(plan.count <= 1000);
            let next = |end: &u64| (*end < size).then(|| plan.chunk_end(*end));
            let ends: Vec<u64> = std::iter::successors(Some(plan.chunk_end(0)), next).take(2000).collect();
            prop_assert_eq!(ends.len() as u64, plan.count);
            prop_assert_eq!(ends.last(), Some(&size));
            let mut offset = 0;
            for end in ends {
                prop_assert!(end > offset);
                let length = end.abs_diff(offset);
                prop_assert!(length <= 128_000_000);
                prop_assert!(size <= 64_000_000 || length >= 5 * 1024 * 1024);
                offset = end;
            }
        }

        #[test]
        fn no_size_and_no_offset_make_it_panic(size in any::<u64>(), offset in any::<u64>()) {
            prop_assert!(ChunkPlan::for_size(size).chunk_end(offset) <= size);
        }
    }
}
