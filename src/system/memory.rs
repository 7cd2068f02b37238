//! Our own memory.

#![allow(unsafe_code)]

unsafe extern "C" {
    /// Where the linker put the program's beginning, and its code's end.
    static __executable_start: u8;
    static etext: u8;
}

/// Lets go of our own code, once everything has begun or something rare was done: most of what is in memory by then is what that
/// took. What is needed again comes back from the page cache by itself (`madvise(2)`, `MADV_DONTNEED` of a file's private pages).
pub fn let_go_of_code() {
    let page =
        nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as usize;
    let (begin, end) = (&raw const __executable_start as usize, &raw const etext as usize);
    let (begin, end) = (begin.next_multiple_of(page), end / page * page);
    // SAFETY: the range is our own code, mapped from our file and never written to: dropping a page loses nothing.
    unsafe { libc::madvise(begin as *mut libc::c_void, end.saturating_sub(begin), libc::MADV_DONTNEED) };
}
