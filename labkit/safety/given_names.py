"""Common given names of several countries: beside a surname they give a name away. Far from complete, by nature."""
from __future__ import annotations

_LISTED = """
Adam Agnes Ahmed Aisha Alan Alejandro Alex Alexander Alice Ali Amelia Amina Amy Ana Andrea Andreas Andrew Angela Anita
Anja Anna Anne Antonio Arthur Barbara Ben Benjamin Beth Bob Brian Bruno Camille Carl Carla Carlos Carmen Carol
Caroline Charles Charlotte Chen Chloe Chris Christian Christina Christine Claire Clara Claudia Daniel David Deborah
Diana Diego Dmitri Dorothy Edward Elena Elisabeth Elizabeth Ella Ellen Emily Emma Eric Erik Eva Fatima Felix Fiona
Francesca Francois François Frank Franz Fred Gabriel George Gerald Grace Hannah Hans Harry Hassan Heather Helen Henry
Hiroshi Hugo Ibrahim Ingrid Irina Isabel Isabella Ivan Jack Jacob James Jan Jane Janet Jason Javier Jean Jennifer
Jessica Jim Joan Joao João Johann Johannes John Jonas Jorge Jose José Joseph Joshua Juan Julia Julie Karen Karin Karl
Kate Katharina Katherine Kenji Kevin Khalid Klaus Laura Lars Lea Lena Leo Lily Linda Lisa Louis Louise Lucas Lucia
Lucy Luis Lukas Manuel Marco Margaret Maria María Marie Marina Mario Mark Markus Marta Martha Martin Mary Matthew Max
Mehmet Mei Mia Michael Michelle Miguel Mohamed Mohammed Monica Nadia Nancy Natalia Nicholas Nicole Nina Noah Nora Olga
Oliver Olivia Omar Oscar Pablo Pat Patricia Patrick Paul Paula Pedro Peter Philip Pierre Priya Rachel Raj Rebecca
Ricardo Richard Robert Roberto Roger Rosa Ruth Ryan Samuel Sandra Sara Sarah Sean Sofia Sophia Sophie Stefan Stephen
Steven Susan Susanne Sven Tanya Tariq Teresa Theresa Thomas Tim Tom Tomas Ulrich Ursula Valentina Vera Victor Victoria
Vincent Walter Wei Wendy William Xavier Yasmin Yuki Yusuf Zainab Zoe
"""
GIVEN_NAMES = tuple(_LISTED.split())
