/* SPDX-License-Identifier: Apache-2.0
 * sample.c - see sample.h: questions, tasks, code, formulas, several scripts, short and long. */
#include "encoder/sample.h"

#include <stddef.h>

const char *const metallm__sample_texts[] = {
    "",
    "Hello!",
    "What is the capital of Portugal?",
    "how long does it take to boil an egg",
    "WHY IS THE SKY BLUE? EXPLAIN IN ONE SENTENCE.",
    "Which planet has the most moons?\nA. Mars\nB. Saturn\nC. Venus\nD. Mercury\nAnswer:",
    "Translate to French: 'The train leaves at half past seven.'",
    "Write a poem of four lines about autumn rain.",
    "Write a Python function that returns the n-th Fibonacci number without recursion.",
    "def area(r):\n    return 3.14159 * r ** 2\n\nprint(area(2.5))  # prints 19.63",
    "for (size_t i = 0; i < n; i++) { if (a[i] != b[i]) return false; }",
    "SELECT name, COUNT(*) FROM orders WHERE total > 100 GROUP BY name ORDER BY 2 DESC;",
    "Solve for x: 3x + 7 = 22. Then compute x^2 - 4x + 1.",
    "Let $f(x) = \\frac{x^2 - 1}{x - 1}$. Find the limit of $f$ as $x \\to 1$.",
    "A shop sells pens at $1.20 each. Anna buys 7 pens and pays with a $20 note. How much change "
    "does she get?",
    "12 34 56 78 90 1/2 3.75 -10 1e6 0x7f",
    "Summarise the following e-mail in one line. Dear team, the meeting on Monday moves to 10:30 "
    "because the room is taken. Please bring last week's figures. Best, Karin",
    "Is the following review positive or negative? \"The soup was cold, the waiter rude, and we "
    "waited an hour for the bill.\"",
    "Complete the sentence: After the long climb, the hikers finally reached",
    "Premise: A man plays a guitar on the street. Hypothesis: Nobody makes music. Does the premise "
    "entail, contradict or say nothing of the hypothesis?",
    "The patient, a 54-year-old woman, has had chest pain and shortness of breath for two days; "
    "her "
    "blood pressure is 150/95. Which test should be ordered first?",
    "Under the contract, the seller must deliver the goods within 30 days; otherwise the buyer may "
    "withdraw and claim damages. The goods came on day 41. What are the buyer's rights?",
    "Photosynthesis turns carbon dioxide and water into glucose and oxygen. In which part of the "
    "cell does it happen, and where does its energy come from?",
    "Gold prices fell on Tuesday as the dollar strengthened ahead of the central bank's decision",
    "pneumonia otolaryngologist electroencephalography thermodynamically",
    "ok thx brb lol :-) !!! ??? ...",
    "http://www.example.com/shop/item?id=42&lang=en user@example.org #news @someone",
    "Où se trouve la bibliothèque la plus proche, s'il vous plaît ?",
    "Wie viele Einwohner hat die größte Stadt der Schweiz?",
    "¿Cuál es la diferencia entre «ser» y «estar»?",
    "Сколько будет семью восемь?",
    "请用三句话介绍长城的历史。",
    "日本で一番高い山は何ですか。",
    "ما هي عاصمة مصر؟",
    "한국에서 가장 긴 강은 무엇입니까?",
    "The quick brown fox jumps over the lazy dog while the five boxing wizards jump quickly and "
    "the "
    "old clock in the hall, which nobody has wound for years, strikes thirteen.",
    NULL,
};
