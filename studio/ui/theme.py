"""Gradio's own components in the colours of the palette."""

from __future__ import annotations

import gradio as gr

from studio.ui.palette import DARK, LIGHT

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK SC")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono")


def theme() -> gr.themes.Base:
    """Gradio's own components in the same colours."""
    base = gr.themes.Base(
        font=[*SANS, "sans-serif"],
        font_mono=[*MONO, "monospace"],
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md,
    )
    return base.set(
        **{k: v for part in (_grounds(), _texts(), _controls()) for k, v in part.items()}
    )


def _both(**colours: str) -> dict[str, str]:
    """Theme settings for light and dark from names of the palette."""
    light = {name: getattr(LIGHT, colour) for name, colour in colours.items()}
    dark = {f"{name}_dark": getattr(DARK, colour) for name, colour in colours.items()}
    return {**light, **dark}


def _grounds() -> dict[str, str]:
    return {
        **_both(
            body_background_fill="ground",
            background_fill_primary="surface",
            background_fill_secondary="sunken",
            block_background_fill="surface",
            block_label_background_fill="surface",
            block_title_background_fill="surface",
            panel_background_fill="surface",
            border_color_primary="line",
            border_color_accent="accent",
            block_border_color="line",
            block_label_border_color="line",
            panel_border_color="line",
            color_accent_soft="accent_soft",
            error_background_fill="danger_soft",
            error_border_color="danger",
        ),
        "block_shadow": "none",
        "block_shadow_dark": "none",
        "block_radius": "12px",
        "container_radius": "12px",
        "block_border_width": "0px",
        "block_title_border_width": "0px",
        "block_label_border_width": "0px",
        "color_accent": "var(--vs-accent)",
        "layout_gap": "14px",
    }


def _texts() -> dict[str, str]:
    return {
        **_both(
            body_text_color="text",
            body_text_color_subdued="muted",
            block_info_text_color="muted",
            block_label_text_color="text",
            block_title_text_color="text",
            accordion_text_color="text",
            link_text_color="accent",
            link_text_color_active="accent",
            link_text_color_hover="accent_hover",
            link_text_color_visited="accent",
            error_text_color="danger",
            error_icon_color="danger",
            table_text_color="text",
        ),
        "block_title_text_weight": "600",
        "block_title_text_size": "*text_sm",
        "block_label_text_weight": "600",
    }


def _controls() -> dict[str, str]:
    return {
        **_both(
            input_background_fill="surface",
            input_background_fill_focus="surface",
            input_background_fill_hover="surface",
            input_border_color="line",
            input_border_color_focus="accent",
            input_border_color_hover="control",
            input_placeholder_color="muted",
            slider_color="accent",
            loader_color="accent",
            checkbox_background_color="surface",
            checkbox_background_color_selected="accent",
            checkbox_border_color="control",
            checkbox_border_color_focus="accent",
            checkbox_border_color_hover="accent",
            checkbox_border_color_selected="accent",
            checkbox_label_background_fill="surface",
            checkbox_label_background_fill_hover="sunken",
            checkbox_label_background_fill_selected="accent_soft",
            checkbox_label_border_color="line",
            checkbox_label_border_color_hover="control",
            checkbox_label_border_color_selected="accent",
            checkbox_label_text_color="text",
            checkbox_label_text_color_selected="on_accent_soft",
            button_primary_background_fill="accent",
            button_primary_background_fill_hover="accent_hover",
            button_primary_border_color="accent",
            button_primary_border_color_hover="accent_hover",
            button_primary_text_color="on_accent",
            button_primary_text_color_hover="on_accent",
            button_secondary_background_fill="surface",
            button_secondary_background_fill_hover="sunken",
            button_secondary_border_color="line",
            button_secondary_border_color_hover="control",
            button_secondary_text_color="text",
            button_secondary_text_color_hover="text",
        ),
        "input_border_width": "1px",
        "input_radius": "10px",
        "button_large_radius": "10px",
        "button_medium_radius": "10px",
        "button_small_radius": "8px",
        "button_border_width": "1px",
        "checkbox_label_border_width": "1px",
    }
