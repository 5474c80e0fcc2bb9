//! Two processes read records through gates, one is killed and comes back: what the gate run writes.

use crate::command;

#[test]
fn nothing_is_lost_reordered_or_handled_too_early() {
    // The run fails by itself if something is; as many records as an unoptimised build handles soon.
    let shown = command::figures(&["run", "gate"], &["--records", "10000", "--keys", "500", "--rounds", "1"]);
    let survival = &shown["survival"];
    assert_eq!(survival["records"], 10_000, "{shown}");
    for figure in ["lost", "reordered", "violations"] {
        assert_eq!(survival[figure], 0, "{shown}");
    }
    assert!(survival["waited"].as_u64().unwrap() > 0, "some posts were late: {shown}");
    assert!(shown["without_gate"].as_f64().unwrap() > 0.0, "without a gate it goes wrong: {shown}");
    for handlers in ["reading", "sharing", "afar", "empty"] {
        for figure in ["plain_per_second", "gate_per_second", "ratio"] {
            assert!(shown["throughput"][handlers][figure].as_f64().unwrap() > 0.0, "{shown}");
        }
    }
    assert!(shown["throughput"]["cost_us"].is_f64(), "{shown}");
    assert!(shown["stuck_key"]["parked"].as_u64().unwrap() > 0, "{shown}");
}
