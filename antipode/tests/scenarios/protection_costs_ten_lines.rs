//! What a team changes in its handlers: the two forms of the example's services, side by side.

const PLAIN: &str = include_str!("../../examples/post_notification/plain.rs");
const PROTECTED: &str = include_str!("../../examples/post_notification/protected.rs");

/// The most lines that two texts have in common, in the same order.
fn common(one: &[&str], other: &[&str]) -> usize {
    let mut lengths = vec![0; other.len() + 1];
    for line in one {
        let mut diagonal = 0;
        for (at, candidate) in other.iter().enumerate() {
            let above = lengths[at + 1];
            lengths[at + 1] = if line == candidate { diagonal + 1 } else { above.max(lengths[at]) };
            diagonal = above;
        }
    }
    lengths[other.len()]
}

#[test]
fn the_protected_handlers_differ_in_ten_lines_at_most() {
    let (plain, protected): (Vec<_>, Vec<_>) = (PLAIN.lines().collect(), PROTECTED.lines().collect());
    let common = common(&plain, &protected);
    let (taken, added) = (plain.len() - common, protected.len() - common);
    assert!(added > 0, "the two forms are different programs");
    assert!(taken <= 10 && added <= 10, "{taken} lines were taken and {added} added");
}
