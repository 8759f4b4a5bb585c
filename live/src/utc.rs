//! Times for people, in UTC.

/// The day as `YYYYMMDD`.
pub fn day(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86400);
    format!("{year:04}{month:02}{day:02}")
}

/// The second as `YYYYMMDD-HHMMSS`.
pub fn second(seconds: u64) -> String {
    let of_day = seconds % 86400;
    format!("{}-{:02}{:02}{:02}", day(seconds), of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// `2023-11-14 22:13`, the way `ls -l --time-style=long-iso` writes it; times before 1970 are its first.
pub fn minute(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let (year, month, day) = civil(seconds / 86400);
    let minutes = seconds / 60 % 1440;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

/// Year, month and day of a number of days since 1970 (Neri and Schneider, 2021, in its plain form).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_minutes() {
        for (seconds, text) in [
            (0, "19700101"),
            (951_782_400, "20000229"),
            (1_700_000_000, "20231114"),
            (4_102_444_800, "21000101"),
        ] {
            assert_eq!(day(seconds), text);
        }
        assert_eq!(second(1_700_000_009), "20231114-221329");
        for (seconds, text) in
            [(-1, "1970-01-01 00:00"), (1_700_000_000, "2023-11-14 22:13"), (951_868_799, "2000-02-29 23:59")]
        {
            assert_eq!(minute(seconds), text);
        }
    }
}
