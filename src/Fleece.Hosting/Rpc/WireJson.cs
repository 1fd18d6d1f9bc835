// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Nbd;

namespace Fleece.Hosting.Rpc;

/// <summary>How arguments, answers and records are written as JSON.</summary>
/// <remarks>
/// <para>Properties are camel-cased, enumerations and addresses are text, and a range is an array of its offset and its length. Properties
/// that this version does not know are ignored, and those that are missing have their initial values. So a new property of a record has an
/// initial value, and a new parameter of a constructor a default value. Lists hold no null.</para>
/// <para>A value that was written reads back equal.</para>
/// </remarks>
internal static class WireJson
{
    /// <summary>The options; read-only.</summary>
    public static JsonSerializerOptions Options { get; } = Make();

    private static JsonSerializerOptions Make()
    {
        JsonSerializerOptions options = new()
        {
            PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
            RespectNullableAnnotations = true,
            RespectRequiredConstructorParameters = true,
            TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { MakeReadable } },
            Converters = { new JsonStringEnumConverter(allowIntegerValues: false), new Addresses(), new Ranges(), new Lists() },
        };
        options.MakeReadOnly();
        return options;
    }

    // Records of disks are made from engine objects alone, and their properties have no setter that others see.
    private static void MakeReadable(JsonTypeInfo contract)
    {
        if (contract.Kind != JsonTypeInfoKind.Object || contract.Type.Namespace != typeof(DiskInfo).Namespace)
        {
            return;
        }

        contract.CreateObject = () => Activator.CreateInstance(contract.Type, nonPublic: true)!;
        foreach (JsonPropertyInfo property in contract.Properties)
        {
            if (property.AttributeProvider is PropertyInfo { SetMethod: { } setter })
            {
                property.Set = (record, value) => setter.Invoke(record, BindingFlags.DoNotWrapExceptions, null, [value], null);
            }
        }
    }

    private sealed class Addresses : JsonConverter<NbdUri>
    {
        public override NbdUri Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            NbdUri.Parse(reader.GetString()!);

        public override void Write(Utf8JsonWriter writer, NbdUri value, JsonSerializerOptions options) =>
            writer.WriteStringValue(value.ToString());
    }

    private sealed class Ranges : JsonConverter<BlockRange>
    {
        public override BlockRange Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            JsonSerializer.Deserialize<long[]>(ref reader, options) is [long offsetBytes, long lengthBytes]
                ? new BlockRange(offsetBytes, lengthBytes)
                : throw new JsonException("A range is an array of its offset and its length.");

        public override void Write(Utf8JsonWriter writer, BlockRange value, JsonSerializerOptions options)
        {
            writer.WriteStartArray();
            writer.WriteNumberValue(value.OffsetBytes);
            writer.WriteNumberValue(value.LengthBytes);
            writer.WriteEndArray();
        }
    }

    private sealed class Lists : JsonConverterFactory
    {
        public override bool CanConvert(Type typeToConvert) =>
            typeToConvert.IsGenericType && typeToConvert.GetGenericTypeDefinition() == typeof(IReadOnlyList<>);

        public override JsonConverter CreateConverter(Type typeToConvert, JsonSerializerOptions options) =>
            (JsonConverter)Activator.CreateInstance(typeof(ListOf<>).MakeGenericType(typeToConvert.GetGenericArguments()))!;
    }

    private sealed class ListOf<T> : JsonConverter<IReadOnlyList<T>>
    {
        public override IReadOnlyList<T> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            T[] items = JsonSerializer.Deserialize<T[]>(ref reader, options)!;
            return Array.Exists(items, item => item is null)
                ? throw new JsonException("An item of a list is null.")
                : new RecordList<T>(items);
        }

        public override void Write(Utf8JsonWriter writer, IReadOnlyList<T> value, JsonSerializerOptions options) =>
            JsonSerializer.Serialize<IEnumerable<T>>(writer, value, options);
    }
}
