//! Members of a baggage header, as they came and as an SDK writes them.

use std::borrow::Cow;

/// The members to send: those that came, byte for byte, but for what the application changed since.
///
/// What it changed is seen by what the SDK writes `now` and what it would have written `then`, of the baggage
/// that came. A member that the SDK could not read it could not change.
pub(super) fn merged<'a>(came: &'a str, then: &'a str, now: &'a str) -> Cow<'a, str> {
    if came.is_empty() {
        return Cow::Borrowed(now);
    }
    if then == now {
        return Cow::Borrowed(came);
    }
    let [came, then, now] = [came, then, now].map(|header| {
        let members = header.split(',').map(str::trim);
        members.filter(|member| !member.is_empty()).collect::<Vec<_>>()
    });
    let find = |all: &[&'a str], wanted: &str| all.iter().copied().find(|one| key(one) == key(wanted));
    let kept = came.iter().copied().filter(|member| match find(&then, member) {
        Some(read) => now.contains(&read),
        None => true,
    });
    let new = now.iter().copied().filter(|member| !then.contains(member));
    Cow::Owned(kept.chain(new).collect::<Vec<_>>().join(","))
}

fn key(member: &str) -> &str {
    member.split(['=', ';']).next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn what_nobody_changed_stays_byte_for_byte() {
        let came = "a=b=c ; p , x,user=%41lice";
        assert_eq!(merged(came, "a=b,user=Alice", "user=Alice,a=b"), "a=b=c ; p,x,user=%41lice");
        assert_eq!(merged(came, "a=b", "a=b"), came);
    }

    #[test]
    fn what_the_application_changed_is_changed() {
        let came = "a=b=c,user=%41lice,x";
        let then = "a=b,user=Alice";
        assert_eq!(merged(came, then, "a=b,user=Bob,new=1"), "a=b=c,x,user=Bob,new=1");
        assert_eq!(merged(came, then, "user=Alice"), "user=%41lice,x", "taken away");
        assert_eq!(merged(came, then, ""), "x");
        assert_eq!(merged("", "", "new=1"), "new=1");
    }
}
