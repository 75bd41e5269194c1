"""FineWeb-2's German configuration (configs/deu_Latn.yml) as its pipeline hands it to datatrove."""

GERMAN_LIMITS = {
    "dup_line_frac": 0.263,
    "dup_para_frac": 0,
    "dup_line_char_frac": 0,
    "dup_para_char_frac": 0,
    "top_n_grams": [(2, 0.169), (3, 0.153), (4, 0.137)],
    "dup_n_grams": [(5, 0.141), (6, 0.134), (7, 0.126), (8, 0.117), (9, 0.108), (10, 0.098)],
}
