//! The time of a transaction, as `TIME` and its relatives give it: in UTC.

/// A moment by the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) epoch: i64,
    pub(super) year: i64,
    /// 0 to 11, as rules count months.
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    /// 0 is Sunday.
    pub(super) weekday: i64,
}

impl Time {
    /// The moment so many seconds after 1970 began (days to civil date by shifting the year to begin in March).
    pub(super) fn new(epoch: u64) -> Self {
        let epoch = i64::try_from(epoch).unwrap_or(0).min(253_402_300_799);
        let (days, seconds) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = (march_month + 2) % 12;
        Self {
            epoch,
            year: year_of_era + era * 400 + i64::from(month < 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            weekday: (days + 4).rem_euclid(7),
        }
    }

    /// Appends `hh:mm:ss`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (index, number) in [self.hour, self.minute, self.second].into_iter().enumerate() {
            if index > 0 {
                out.push(b':');
            }
            let digit = |value: i64| b'0' + u8::try_from(value % 10).unwrap_or(0);
            out.extend([digit(number / 10), digit(number)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn the_calendar_is_gregorian() {
        let time = Time::new(1_709_210_096);
        assert_eq!((time.year, time.month, time.day), (2024, 1, 29));
        assert_eq!((time.hour, time.minute, time.second, time.weekday), (12, 34, 56, 4));
        let mut text = Vec::new();
        time.write(&mut text);
        assert_eq!(text, b"12:34:56");
        let first = Time::new(0);
        assert_eq!((first.year, first.month, first.day, first.weekday), (1970, 0, 1, 4));
        let last = Time::new(1_798_761_599);
        assert_eq!((last.year, last.month, last.day), (2026, 11, 31));
    }
}
