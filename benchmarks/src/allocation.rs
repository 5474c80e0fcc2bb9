//! Counts what is allocated, to measure the memory of waiting barriers.

#![allow(unsafe_code)] // An allocator cannot be written without; this one only counts and passes on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static CALLS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

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
        let freed = FREED.load(Ordering::SeqCst);
        let allocated = ALLOCATED.load(Ordering::SeqCst);
        Self { calls: CALLS.load(Ordering::SeqCst), live_bytes: allocated.saturating_sub(freed) }
    }
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        FREED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        FREED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count(bytes: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    ALLOCATED.fetch_add(bytes as u64, Ordering::Relaxed);
}
