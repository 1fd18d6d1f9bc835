// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Records;

/// <summary>One of the consumers that a session counts, as it was when the session was asked for.</summary>
public sealed record ConsumerInfo
{
    // Made by the engine, and from what a host tells.
    internal ConsumerInfo()
    {
    }

    /// <summary>The name, unique in the session.</summary>
    public string Name { get; internal init; } = string.Empty;

    /// <summary>The session, "DISK/NAME".</summary>
    public string Session { get; internal init; } = string.Empty;

    /// <summary>Bytes that it has confirmed.</summary>
    public long ConfirmedBytes { get; internal init; }

    /// <summary>Bytes that it has not confirmed: the session keeps them for this consumer.</summary>
    public long RemainingBytes { get; internal init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; internal init; }

    /// <summary>The identity of the session's instant.</summary>
    public Guid InstantId { get; internal init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
