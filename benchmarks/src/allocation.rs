//! Counts what is allocated, to measure the memory of waiting barriers and the work of layers.

#![allow(unsafe_code)] // An allocator cannot be written without; this one only counts and passes on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One for each of the first threads: counters that all of them wrote to would cost more than what is
/// counted. Later ones share.
static COUNTERS: [Counters; 64] = [const { Counters::new() }; 64];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// On cache lines of their own.
#[repr(align(128))]
struct Counters {
    calls: AtomicU64,
    allocated: AtomicU64,
    freed: AtomicU64,
}

/// The system's allocator, counted. Make it the `#[global_allocator]` of the binary that measures.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAllocator;

/// What all threads of this process have allocated so far. Zero without [`CountingAllocator`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allocations {
    /// How many times memory was asked for.
    pub calls: u64,
    /// The bytes that are in use.
    pub live_bytes: u64,
}

impl Allocations {
    /// The counts now.
    #[must_use]
    pub fn now() -> Self {
        // What is freed is read first, so that the difference is never negative.
        let freed = sum(|counters| &counters.freed);
        let allocated = sum(|counters| &counters.allocated);
        Self { calls: sum(|counters| &counters.calls), live_bytes: allocated.saturating_sub(freed) }
    }
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counters::own().count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counters::own().count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Counters::own().freed.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counters::own().count(size);
        Counters::own().freed.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

impl Counters {
    const fn new() -> Self {
        Self { calls: AtomicU64::new(0), allocated: AtomicU64::new(0), freed: AtomicU64::new(0) }
    }

    /// Those of this thread. Allocates nothing, and works in threads that end.
    fn own() -> &'static Self {
        let own = OWN.try_with(|own| match own.get() {
            Some(own) => own,
            None => {
                let next = THREADS.fetch_add(1, Ordering::Relaxed) % COUNTERS.len();
                own.set(Some(next));
                next
            }
        });
        COUNTERS.get(own.unwrap_or(0)).unwrap_or(&COUNTERS[0])
    }

    fn count(&self, bytes: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.allocated.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn sum(of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
    COUNTERS.iter().map(|counters| of(counters).load(Ordering::SeqCst)).sum()
}
