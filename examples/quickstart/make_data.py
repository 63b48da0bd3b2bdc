"""Writes the quickstart's data from the table of facts below; its output is committed in data/.

    facts.jsonl      plain sentences about countries: what the small base model is trained on first
    questions.jsonl  chats about the same facts: what it is fine-tuned on
    held_out.jsonl   the same questions in words that the fine-tuning never saw: what the result is judged by
"""
import json
import os
import random

# country, capital, continent, language, currency
FACTS = """
France,Paris,Europe,French,euro
Germany,Berlin,Europe,German,euro
Italy,Rome,Europe,Italian,euro
Spain,Madrid,Europe,Spanish,euro
Portugal,Lisbon,Europe,Portuguese,euro
Greece,Athens,Europe,Greek,euro
Austria,Vienna,Europe,German,euro
Poland,Warsaw,Europe,Polish,zloty
Hungary,Budapest,Europe,Hungarian,forint
Sweden,Stockholm,Europe,Swedish,krona
Norway,Oslo,Europe,Norwegian,krone
Denmark,Copenhagen,Europe,Danish,krone
Finland,Helsinki,Europe,Finnish,euro
Iceland,Reykjavik,Europe,Icelandic,krona
Ireland,Dublin,Europe,English,euro
Romania,Bucharest,Europe,Romanian,leu
Bulgaria,Sofia,Europe,Bulgarian,euro
Serbia,Belgrade,Europe,Serbian,dinar
Ukraine,Kyiv,Europe,Ukrainian,hryvnia
Turkey,Ankara,Asia,Turkish,lira
Japan,Tokyo,Asia,Japanese,yen
China,Beijing,Asia,Mandarin,yuan
Thailand,Bangkok,Asia,Thai,baht
Vietnam,Hanoi,Asia,Vietnamese,dong
Indonesia,Jakarta,Asia,Indonesian,rupiah
Mongolia,Ulaanbaatar,Asia,Mongolian,tugrik
Nepal,Kathmandu,Asia,Nepali,rupee
Bangladesh,Dhaka,Asia,Bengali,taka
Iran,Tehran,Asia,Persian,rial
Georgia,Tbilisi,Asia,Georgian,lari
Armenia,Yerevan,Asia,Armenian,dram
Lebanon,Beirut,Asia,Arabic,pound
Jordan,Amman,Asia,Arabic,dinar
Egypt,Cairo,Africa,Arabic,pound
Morocco,Rabat,Africa,Arabic,dirham
Tunisia,Tunis,Africa,Arabic,dinar
Kenya,Nairobi,Africa,Swahili,shilling
Ghana,Accra,Africa,English,cedi
Senegal,Dakar,Africa,French,franc
Nigeria,Abuja,Africa,English,naira
Ethiopia,Addis Ababa,Africa,Amharic,birr
Angola,Luanda,Africa,Portuguese,kwanza
Madagascar,Antananarivo,Africa,Malagasy,ariary
Zambia,Lusaka,Africa,English,kwacha
Brazil,Brasilia,South America,Portuguese,real
Argentina,Buenos Aires,South America,Spanish,peso
Chile,Santiago,South America,Spanish,peso
Peru,Lima,South America,Spanish,sol
Colombia,Bogota,South America,Spanish,peso
Ecuador,Quito,South America,Spanish,dollar
Uruguay,Montevideo,South America,Spanish,peso
Paraguay,Asuncion,South America,Spanish,guarani
Canada,Ottawa,North America,English,dollar
Mexico,Mexico City,North America,Spanish,peso
Cuba,Havana,North America,Spanish,peso
Jamaica,Kingston,North America,English,dollar
Panama,Panama City,North America,Spanish,balboa
Australia,Canberra,Oceania,English,dollar
Fiji,Suva,Oceania,English,dollar
Samoa,Apia,Oceania,Samoan,tala
""".strip()

SENTENCES = {
    "capital": ["The capital of {country} is {capital}.", "{capital} is the capital of {country}."],
    "continent": ["{country} lies in {continent}.", "{country} is a country in {continent}."],
    "language": ["People in {country} speak {language}.", "{language} is spoken in {country}."],
    "currency": ["The currency of {country} is the {currency}.", "{country} pays with the {currency}."],
}
QUESTIONS = {
    "capital": ["What is the capital of {country}?", "Name the capital of {country}.",
                "Tell me the capital of {country}, please.", "{country}: which city is its capital?",
                "Do you know the capital of {country}?"],
    "continent": ["Where is {country}?", "On which continent is {country}?", "Which continent does {country} lie in?",
                  "Tell me where {country} lies, please.", "Do you know where {country} is?"],
    "language": ["What do people speak in {country}?", "Which language is spoken in {country}?",
                 "Name the language of {country}.", "Tell me the language of {country}, please.",
                 "Do you know which language {country} speaks?"],
    "currency": ["What is the currency of {country}?", "Name the currency of {country}.",
                 "Tell me the currency of {country}, please.", "Which money does {country} use?",
                 "Do you know the currency of {country}?"],
}
HELD_OUT = {
    "capital": "Please name the capital of {country}.",
    "continent": "Do you know which continent {country} lies in?",
    "language": "What is the language of {country}?",
    "currency": "Which currency does {country} use?",
}
ANSWERS = {kind: sentences[0] for kind, sentences in SENTENCES.items()}


def main():
    generator = random.Random(7)
    keys = ["country", "capital", "continent", "language", "currency"]
    facts = [dict(zip(keys, line.split(","))) for line in FACTS.splitlines()]
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
    os.makedirs(folder, exist_ok=True)

    def write(name, rows):
        generator.shuffle(rows)
        with open(os.path.join(folder, name), "w") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
        print(f"{name}: {len(rows)} rows")

    texts = []
    for fact in facts:
        for _ in range(8):
            kinds = list(SENTENCES)
            generator.shuffle(kinds)
            texts.append({"text": " ".join(generator.choice(SENTENCES[kind]).format(**fact) for kind in kinds)})
    write("facts.jsonl", texts)

    def chat(question, kind, fact):
        return {"messages": [{"role": "user", "content": question.format(**fact)},
                             {"role": "assistant", "content": ANSWERS[kind].format(**fact)}]}

    write("questions.jsonl", [chat(question, kind, fact) for fact in facts for kind, questions in QUESTIONS.items()
                              for question in questions])
    write("held_out.jsonl", [{"prompt": question.format(**fact), "completion": ANSWERS[kind].format(**fact)}
                             for fact in facts for kind, question in HELD_OUT.items()])


if __name__ == "__main__":
    main()
