//! Lineages to test with: fixed ones as services have them, and random ones.

use antipode_lineage::{
    Branch, BranchId, Epoch, Lineage, LineageCodec, Position, Shard, SigningKey, SigningKeys, StoreName,
    WriteId,
};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use sha2::Sha256;

/// The key of [`signed`].
pub(crate) const KEY: [u8; 32] = [7; 32];

/// Random tests run this many cases unless `PROPTEST_CASES` says otherwise.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, ..default }
}

pub(crate) fn signed() -> LineageCodec {
    LineageCodec::signed(SigningKeys::new(SigningKey::parse(KEY).unwrap()))
}

pub(crate) fn codecs() -> [LineageCodec; 2] {
    [LineageCodec::plain(), signed()]
}

/// A text of the given head and entries whose checksum is right.
pub(crate) fn sealed(message: &[u8]) -> String {
    let seal = crc32fast::hash(message).to_le_bytes();
    BASE64URL_NOPAD.encode(&[message, &seal].concat())
}

/// A text of the given head and entries whose signature, of this many bytes, is right.
pub(crate) fn sealed_with(key: &[u8], mac_len: usize, message: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes();
    BASE64URL_NOPAD.encode(&[message, &mac[..mac_len]].concat())
}

pub(crate) fn write(store: &str, shard: u64, history: u64, term: u64, position: u64) -> WriteId {
    let epoch = Epoch { history, term };
    WriteId {
        store: StoreName::parse(store).unwrap(),
        shard: Shard(shard),
        epoch,
        position: Position(position),
    }
}

pub(crate) fn branch(ledger: &str, name: &str, id: u128) -> Branch {
    let parsed = (ledger.parse(), name.parse());
    Branch { ledger: parsed.0.unwrap(), name: parsed.1.unwrap(), id: BranchId(id) }
}

/// One log each of Postgres, Redis, MongoDB and Kafka, with positions as real servers have them.
pub(crate) fn four_stores() -> Lineage {
    Lineage::from_iter([
        write("accounts", 0, 7_412_345_678_901_234_567, 3, 0x5d_1234_5678),
        write("sessions", 0, 0x8c1f_03d2_77aa_59e4, 0, 0xe8_d4a5_1000),
        write("articles", 0, 0xd1b5_4a32_d192_ed03, 11, 0x6700_0000_0000_0007),
        write("notifier", 5, 0x9e37_79b9_7f4a_7c15, 42, 0xff_ffff_fffe),
    ])
}

/// The stores of [`four_stores`] with four shards each, every shard with a history of its own.
pub(crate) fn sixteen_shards() -> Lineage {
    let shards = four_stores().writes().to_vec();
    shards
        .iter()
        .flat_map(|write| {
            (0..4_u64).map(|shard| {
                let history = write.epoch.history ^ shard.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                WriteId { shard: Shard(shard), epoch: Epoch { history, ..write.epoch }, ..*write }
            })
        })
        .collect()
}

/// A handful of different kinds.
pub(crate) fn table() -> Vec<(&'static str, Lineage)> {
    let mut weak = Lineage::from(write("a", 0, 0, 0, 0));
    weak.mark_weak();
    let mut weakest = Lineage::everything();
    weakest.mark_weak();
    let longest = "abcdefghijklmnopqrstuvw";
    let mut branched = four_stores();
    branched.add_branch(branch("orders", "refund", 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
    let mut branches = Lineage::new();
    for (ledger, name) in [("a", "b"), ("a", "c"), ("b", "c"), (longest, longest)] {
        [0, 1, u128::MAX].iter().for_each(|id| branches.add_branch(branch(ledger, name, *id)));
    }
    let mut forgotten = four_stores();
    forgotten.forget_branches();
    forgotten.mark_weak();
    vec![
        ("nothing", Lineage::new()),
        ("everything", Lineage::everything()),
        ("weak everything", weakest),
        ("least, weak", weak),
        ("greatest", Lineage::from(write(longest, u64::MAX, u64::MAX, u64::MAX, u64::MAX))),
        ("unplaced", Lineage::from(WriteId::unplaced(StoreName::parse("posts").unwrap()))),
        ("four stores", four_stores()),
        ("one history, two terms", Lineage::from_iter([write("a", 0, 9, 1, 300), write("a", 0, 9, 2, 5)])),
        ("shared history", Lineage::from_iter([write("a", 3, 9, 1, 127), write("b", 3, 9, 1, 128)])),
        ("sixteen shards", sixteen_shards()),
        ("four stores, a branch", branched),
        ("branches alone", branches),
        ("forgotten branches, weak", forgotten),
    ]
}

/// Lineages whose entries often meet in others: few keys, few positions.
pub(crate) fn small() -> impl Strategy<Value = Lineage> {
    let entry = (0..3_usize, 0..2_u64, 0..2_u64, 0..2_u64, 0..4_u64).prop_map(
        |(store, shard, history, term, position)| {
            write(["a", "b", "ab"][store], shard, history, term, position)
        },
    );
    marked(prop::collection::vec(entry, 0..6).prop_map(Lineage::from_iter))
}

/// Runs of shards, two of which are often too many together.
pub(crate) fn large() -> impl Strategy<Value = Lineage> {
    let run = (0..300_u64, 0..257_u64, 0..3_u64);
    marked(run.prop_map(|(start, len, position)| {
        (start..start + len).map(|shard| write("a", shard, 1, 1, position)).collect()
    }))
}

/// Lineages with any names and numbers, the extremes more often than others.
pub(crate) fn any_lineage() -> impl Strategy<Value = Lineage> {
    let entry = (name(), number(), number(), number(), number())
        .prop_map(|(store, shard, history, term, position)| write(&store, shard, history, term, position));
    marked(prop::collection::vec(entry, 0..8).prop_map(Lineage::from_iter))
}

fn marked(lineages: impl Strategy<Value = Lineage>) -> impl Strategy<Value = Lineage> {
    // Few branches that often meet, or runs of which two are often too many together.
    let branches = prop_oneof![
        4 => Just((0..0_u64, 0)),
        3 => (0..4_u64, 0..4_u64).prop_map(|(start, len)| (start..start + len, 3)),
        1 => (0..70_u64, 0..65_u64).prop_map(|(start, len)| (start..start + len, 1)),
    ];
    (lineages, branches, 0..32_u8).prop_map(|(mut lineage, (ids, kinds), marks)| {
        for id in ids {
            let (ledger, name) = [("a", "x"), ("a", "y"), ("b", "y")][(id % kinds) as usize];
            lineage.add_branch(branch(ledger, name, u128::from(id)));
        }
        if marks == 30 {
            lineage.forget_branches();
        }
        if marks < 4 {
            lineage.mark_weak();
        }
        if marks == 31 {
            lineage.join(&Lineage::everything());
        }
        lineage
    })
}

fn name() -> impl Strategy<Value = String> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.";
    prop_oneof![
        select(vec!["posts", "orders", "o", "abcdefghijklmnopqrstuvw"]).prop_map(str::to_owned),
        (0..36_usize, prop::collection::vec(0..LETTERS.len(), 0..23)).prop_map(|(first, rest)| {
            std::iter::once(first).chain(rest).map(|at| char::from(LETTERS[at])).collect()
        }),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    let fenceposts = (0..=64_u32, 0..3_u64)
        .prop_map(|(bits, by)| 1_u64.checked_shl(bits).unwrap_or(0).wrapping_add(by).wrapping_sub(1));
    prop_oneof![fenceposts, any::<u64>()]
}
