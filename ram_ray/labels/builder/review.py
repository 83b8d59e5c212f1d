def review_page(build): return "x"
