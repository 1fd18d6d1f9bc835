// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Reflection;
using System.Text.Json;
using Fleece.Block;

namespace Fleece.Rpc;

/// <summary>A method of a contract, and how its arguments are found in a request.</summary>
/// <remarks>
/// <para>An argument that is missing takes the parameter's default value, or null where the parameter allows it, so that the other side
/// may be of an older version; one that the method does not know is ignored, so that it may be of a newer one.</para>
/// <para>Threading. Immutable.</para>
/// </remarks>
internal sealed class ContractMethod
{
    private static readonly ConcurrentDictionary<Type, ContractMethod[]> Known = new();

    private readonly MethodInfo _method;
    private readonly ParameterInfo[] _parameters;
    private readonly bool[] _takesNull;
    private readonly Func<object?, JsonSerializerOptions, Task<JsonElement>> _answer;

    private ContractMethod(MethodInfo method)
    {
        _method = method;
        _parameters = method.GetParameters();
        NullabilityInfoContext nullability = new();
        _takesNull = [.. _parameters.Select(parameter => nullability.Create(parameter).WriteState == NullabilityState.Nullable)];
        _answer = AnswerOf(method.ReturnType);
    }

    /// <summary>The name in requests.</summary>
    public string Name => _method.Name;

    /// <summary>True for one that only tells something. Those are called in the order in which they arrive.</summary>
    public bool IsEvent => _method.ReturnType == typeof(void);

    /// <summary>The methods of an interface and of those that it extends.</summary>
    public static ContractMethod[] Of(Type contract) => Known.GetOrAdd(contract, static type =>
        [.. type.GetInterfaces().Prepend(type).SelectMany(each => each.GetMethods()).Select(method => new ContractMethod(method))]);

    /// <summary>Calls the method.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: an argument is missing, or is of another type.
    /// </exception>
    public Task<JsonElement> InvokeAsync(
        object target, JsonElement arguments, JsonSerializerOptions json, CancellationToken cancellationToken)
    {
        object?[] values = new object?[_parameters.Length];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = _parameters[i].ParameterType == typeof(CancellationToken) ? cancellationToken : Find(i, arguments, json);
        }

        return _answer(_method.Invoke(target, BindingFlags.DoNotWrapExceptions, null, values, null), json);
    }

    private object? Find(int index, JsonElement arguments, JsonSerializerOptions json)
    {
        ParameterInfo parameter = _parameters[index];
        if (arguments.ValueKind is not (JsonValueKind.Object or JsonValueKind.Undefined))
        {
            throw new BlockException(BlockErrors.InvalidArgument, $"The arguments of '{Name}' are not an object.");
        }

        if (arguments.ValueKind == JsonValueKind.Undefined || !arguments.TryGetProperty(parameter.Name!, out JsonElement argument))
        {
            return parameter.HasDefaultValue ? parameter.DefaultValue
                : _takesNull[index] ? null
                : throw new BlockException(BlockErrors.InvalidArgument, $"The argument '{parameter.Name}' of '{Name}' is missing.");
        }

        try
        {
            return argument.Deserialize(parameter.ParameterType, json) is { } value ? value
                : _takesNull[index] ? null
                : throw new BlockException(BlockErrors.InvalidArgument, $"The argument '{parameter.Name}' of '{Name}' is null.");
        }
        catch (Exception failure) when (failure is JsonException or ArgumentException or FormatException or OverflowException)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The argument '{parameter.Name}' of '{Name}' can't be understood: {failure.Message}",
                cause: failure);
        }
    }

    private static Func<object?, JsonSerializerOptions, Task<JsonElement>> AnswerOf(Type type)
    {
        if (type == typeof(void))
        {
            return static (_, json) => Task.FromResult(JsonSerializer.SerializeToElement<object?>(null, json));
        }

        if (type == typeof(ValueTask))
        {
            return AnswerAsync;
        }

        return type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ValueTask<>)
            ? typeof(ContractMethod).GetMethod(nameof(AnswerOfAsync), BindingFlags.Static | BindingFlags.NonPublic)!
                .MakeGenericMethod(type.GetGenericArguments())
                .CreateDelegate<Func<object?, JsonSerializerOptions, Task<JsonElement>>>()
            : throw new NotSupportedException($"A method of a contract returns nothing, ValueTask or ValueTask<T>, and no {type}.");
    }

    private static async Task<JsonElement> AnswerAsync(object? call, JsonSerializerOptions json)
    {
        await ((ValueTask)call!).ConfigureAwait(false);
        return JsonSerializer.SerializeToElement<object?>(null, json);
    }

    private static async Task<JsonElement> AnswerOfAsync<T>(object? call, JsonSerializerOptions json) =>
        JsonSerializer.SerializeToElement(await ((ValueTask<T>)call!).ConfigureAwait(false), json);
}
