"""Flow matching and v-prediction sampling, given a denoiser; knows no model."""
