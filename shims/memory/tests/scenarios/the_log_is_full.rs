//! The log keeps what somebody is behind with, and no more than it has room for.

use antipode_lineage::LineageScope;
use antipode_memory::{MemoryError, MemoryStore};

fn small() -> MemoryStore {
    MemoryStore::builder("posts").region("us").region("eu").capacity(3).build().unwrap()
}

async fn put(store: &MemoryStore, key: &str) -> Result<u64, MemoryError> {
    let write = store.shim().within(LineageScope::new()).put(key, "x").await?;
    Ok(write.position.0)
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_behind_stops_the_writes_until_it_is_helped() {
    let helps: [fn(&MemoryStore); 2] =
        [|store| store.heal("eu").unwrap(), |store| store.detach("eu").unwrap()];
    for help in helps {
        let posts = small();
        posts.cut("eu").unwrap();
        for _ in 0..3 {
            put(&posts, "a").await.unwrap();
        }
        let full = put(&posts, "b").await.unwrap_err();
        assert!(matches!(full, MemoryError::LogFull { .. }) && full.to_string().contains("eu"), "{full}");
        assert_eq!(posts.peek("us", "b").unwrap(), None, "nothing was written");
        help(&posts);
        assert_eq!(put(&posts, "b").await.unwrap(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_that_was_let_go_comes_back_whole() {
    let posts = small();
    put(&posts, "a").await.unwrap();
    posts.detach("eu").unwrap();
    for number in 0..10 {
        put(&posts, &number.to_string()).await.unwrap();
    }
    posts.rejoin("eu").unwrap();
    for number in 0..10 {
        assert!(posts.peek("eu", &number.to_string()).unwrap().is_some(), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_is_behind_is_told_what_it_missed() {
    let posts = small();
    let mut tail = posts.tail("eu").unwrap();
    for number in 0..5 {
        put(&posts, &number.to_string()).await.unwrap();
    }
    let lagged = tail.next().await.unwrap_err();
    assert!(matches!(lagged, MemoryError::TailLagged { missed: 2, .. }), "{lagged}");
    for number in 2..5 {
        assert_eq!(*tail.next().await.unwrap().key, *number.to_string());
    }
    drop(tail);
    for _ in 0..10 {
        put(&posts, "a").await.unwrap();
    }
}
