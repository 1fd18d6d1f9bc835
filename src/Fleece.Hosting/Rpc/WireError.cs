// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Rpc;

/// <summary>A <see cref="BlockException"/> as it travels.</summary>
/// <remarks>Its kind stays as it is, also where the other side is newer and has kinds that this one does not know.</remarks>
internal sealed record WireError
{
    // More are left out: a chain of causes has two or three.
    private const int MaximumCauses = 8;

    /// <summary>The kind.</summary>
    public string Kind { get; init; } = BlockErrors.InvariantBroken;

    /// <summary>The message, printable.</summary>
    public string Message { get; init; } = string.Empty;

    /// <summary>The file concerned.</summary>
    public string? Path { get; init; }

    /// <summary>The offset concerned.</summary>
    public long? OffsetBytes { get; init; }

    /// <summary>The operation that failed.</summary>
    public string? Operation { get; init; }

    /// <summary>The error beneath, where it is one of the engine too: <see cref="BlockException.RootKind"/> is found there.</summary>
    public WireError? Cause { get; init; }

    /// <summary>The error to send.</summary>
    public static WireError Of(BlockException error) => Of(error, MaximumCauses);

    /// <summary>The error as it was on the other side.</summary>
    public BlockException ToException() => new(Kind, Message, Path, OffsetBytes, Operation, Cause?.ToException());

    private static WireError Of(BlockException error, int causes) => new()
    {
        Kind = error.Kind,
        Message = error.Message,
        Path = error.Path,
        OffsetBytes = error.OffsetBytes,
        Operation = error.Operation,
        Cause = causes > 0 && error.InnerException is BlockException cause ? Of(cause, causes - 1) : null,
    };
}
