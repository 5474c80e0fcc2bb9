//! The scenarios, named like what they show.

mod bed;

use crate::Bed;
use crate::runner::Scenario;

macro_rules! scenarios {
    ($($file:ident: $($name:ident)+;)+) => {
        /// Every scenario, in the order in which they are played.
        pub(crate) fn all<B: Bed>() -> Vec<Scenario<B>> {
            vec![$($(Scenario {
                name: stringify!($name),
                play: |stage| Box::pin($file::$name(stage)),
            }),+),+]
        }
    };
}

scenarios! {
    bed: a_cut_replica_falls_behind_and_catches_up;
}
