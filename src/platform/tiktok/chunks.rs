//! The chunk plan of an upload: the floor rule of TikTok's media transfer guide (platform sheet, section 4).

use std::ops::Range;

/// Up to this size one chunk is safe whether TikTok's MB are 10^6 or 2^20 bytes.
const SINGLE: u64 = 64_000_000;

/// The size of the chunks of a larger file, safe under both readings likewise.
const CHUNK: u64 = 10_000_000;

/// The most chunks that an upload may have.
const MOST: u64 = 1000;

/// How a file is cut up: every chunk is of one size but the last, which takes the remainder too.
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
        if size <= SINGLE {
            return Self { size, chunk_size: size, count: 1 };
        }
        let chunk_size = CHUNK.max(size.div_ceil(MOST));
        Self { size, chunk_size, count: size / chunk_size }
    }

    /// From `offset` to the end of the chunk that it lies in.
    pub(super) fn rest_of_chunk_at(&self, offset: u64) -> Range<u64> {
        let index = (offset / self.chunk_size).min(self.count - 1);
        let end = if index + 1 == self.count { self.size } else { (index + 1) * self.chunk_size };
        offset..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vendors_example_holds() {
        let plan = ChunkPlan { size: 50_000_123, chunk_size: 10_000_000, count: 5 };
        assert_eq!(plan.rest_of_chunk_at(40_000_000), 40_000_000..50_000_123);
        assert_eq!(plan.rest_of_chunk_at(39_999_999), 39_999_999..40_000_000);
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
            prop_assert_eq!(plan.count, (size / plan.chunk_size).max(1));
            prop_assert!(plan.count <= 1000);
            let (mut offset, mut chunks) = (0, 0);
            while offset < size {
                let range = plan.rest_of_chunk_at(offset);
                prop_assert!(range.start == offset && range.end > offset && range.end <= size);
                let length = range.end - range.start;
                prop_assert!(length <= 128_000_000);
                prop_assert!(size <= 64_000_000 || length >= 5 * 1024 * 1024);
                offset = range.end;
                chunks += 1;
            }
            prop_assert_eq!(chunks, plan.count);
        }
    }
}
