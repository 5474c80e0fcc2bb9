//! Which shard a partition is.

use antipode_lineage::Shard;

const PARTITION_BITS: u32 = 16;

/// The shard of a topic's partition: the same in every process, whatever else its store covers.
///
/// The upper 48 bits are a hash (FNV-1a, folded) of the topic's name, the lower 16 the partition. A store
/// refuses two topics whose names collide. `None` for partitions that are negative (not assigned yet) or
/// past 65,535.
#[must_use]
pub fn partition_shard(topic: &str, partition: i32) -> Option<Shard> {
    let partition = u16::try_from(partition).ok()?;
    Some(Shard(topic_hash(topic) << PARTITION_BITS | u64::from(partition)))
}

/// 48 bits.
pub(crate) fn topic_hash(topic: &str) -> u64 {
    let hash = topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 48) ^ (hash & 0xffff_ffff_ffff)
}

/// The topic's hash and the partition.
pub(crate) fn parts(shard: Shard) -> (u64, i32) {
    (shard.0 >> PARTITION_BITS, i32::from(shard.0 as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lineages of other processes, and of other versions, name shards: the numbers never change.
    #[test]
    fn a_shard_is_the_same_in_every_process() {
        assert_eq!(partition_shard("orders", 0), Some(Shard(topic_hash("orders") << 16)));
        assert_eq!(topic_hash("orders"), 0x5d92_50be_8b5e);
        assert_eq!(parts(partition_shard("orders", 65_535).unwrap()), (topic_hash("orders"), 65_535));
        assert_eq!(partition_shard("orders", 65_536), None);
        assert_eq!(partition_shard("orders", -1), None, "not assigned");
    }
}
