//! The chunk plan of an upload: the floor rule of TikTok's media transfer guide (platform sheet, section 4).

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
        Self { size, chunk_size, count: size / chunk_size }
    }

    /// The end of the chunk that `offset` lies in.
    pub(super) fn chunk_end(&self, offset: u64) -> u64 {
        let index = (offset / self.chunk_size).min(self.count - 1);
        if index + 1 == self.count { self.size } else { (index + 1) * self.chunk_size }
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
            prop_assert_eq!(plan.count, (size / plan.chunk_size).max(1));
            prop_assert!(plan.count <= 1000);
            let (mut offset, mut chunks) = (0, 0);
            while offset < size {
                let end = plan.chunk_end(offset);
                prop_assert!(end > offset && end <= size);
                let length = end - offset;
                prop_assert!(length <= 128_000_000);
                prop_assert!(size <= 64_000_000 || length >= 5 * 1024 * 1024);
                offset = end;
                chunks += 1;
            }
            prop_assert_eq!(chunks, plan.count);
        }
    }
}
