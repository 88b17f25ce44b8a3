//! How much something grows.

/// Growth of y for each 1 of x, by least squares; 0 where there is nothing to tell it from.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x, sum.1 + y));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (above, below) = points.iter().fold((0.0, 0.0), |sum, (x, y)| {
        (sum.0 + (x - mean_x) * (y - mean_y), sum.1 + (x - mean_x) * (x - mean_x))
    });
    if below == 0.0 || points.is_empty() { 0.0 } else { above / below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_whatever_the_noise() {
        let line = |noise: f64| -> Vec<(f64, f64)> {
            (0..100)
                .map(|at| (f64::from(at), 3.0 + 0.5 * f64::from(at) + noise * f64::from(at % 2)))
                .collect()
        };
        assert!((slope(&line(0.0)) - 0.5).abs() < 1e-9);
        assert!((slope(&line(1.0)) - 0.5).abs() < 0.01);
        assert_eq!((slope(&[]), slope(&[(1.0, 2.0)])), (0.0, 0.0));
    }
}
