"""What people look at: figures and notebooks, the page of results, a judgement, the site."""
