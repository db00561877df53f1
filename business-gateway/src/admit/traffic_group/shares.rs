//! Divides a whole by ratios, without a part left over and without a part too many.

/// The parts of `whole` by `ratios`, by the largest remainder (Hamilton's method): they add up to `whole` exactly, and each is
/// its exact part rounded down or up. Of equal remainders the first wins. No part at all when no ratio is above 0.
pub(super) fn divide(whole: usize, ratios: &[u32]) -> Vec<usize> {
    let sum: u128 = ratios.iter().copied().map(u128::from).sum();
    if sum == 0 {
        return vec![0; ratios.len()];
    }
    // Exact: neither factor has more than 64 bits.
    let exact = |ratio: &u32| {
        let product = whole as u128 * u128::from(*ratio);
        (usize::try_from(product / sum).unwrap_or(usize::MAX), product % sum)
    };
    let exact: Vec<(usize, u128)> = ratios.iter().map(exact).collect();
    let mut parts: Vec<usize> = exact.iter().map(|(part, _)| *part).collect();
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    by_remainder.sort_by_key(|index| std::cmp::Reverse(exact.get(*index).map_or(0, |(_, remainder)| *remainder)));
    let left = whole.saturating_sub(parts.iter().sum());
    for index in by_remainder.into_iter().take(left) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn the_largest_remainders_are_rounded_up() {
        assert_eq!(divide(100, &[60, 30, 10]), [60, 30, 10]);
        assert_eq!(divide(32, &[60, 30, 10]), [19, 10, 3]);
        assert_eq!(divide(3, &[60, 30, 10]), [2, 1, 0]);
        assert_eq!(divide(2, &[1, 1, 1]), [1, 1, 0]);
        assert_eq!(divide(7, &[1]), [7]);
        assert_eq!(divide(7, &[0, 0]), [0, 0]);
        assert_eq!(divide(7, &[]), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole_and_are_within_one_of_the_exact_part(
            whole in 0usize..1_000_000,
            ratios in proptest::collection::vec(any::<u32>(), 1..20),
        ) {
            let parts = divide(whole, &ratios);
            let sum: u64 = ratios.iter().copied().map(u64::from).sum();
            if sum > 0 {
                prop_assert_eq!(parts.iter().sum::<usize>(), whole);
            }
            for (part, ratio) in parts.iter().zip(&ratios) {
                let low = whole as u128 * u128::from(*ratio) / u128::from(sum.max(1));
                prop_assert!((*part as u128) == low || (*part as u128) == low + 1);
                prop_assert!(*ratio > 0 || *part == 0);
            }
        }
    }
}
