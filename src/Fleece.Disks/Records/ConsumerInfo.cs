// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Records;

/// <summary>One of the consumers that a session counts, as it was when the session was asked for.</summary>
public sealed record ConsumerInfo
{
    // For a record that comes from a host.
    private ConsumerInfo()
    {
    }

    internal ConsumerInfo(SessionConsumer consumer)
    {
        Name = consumer.Name;
        Session = consumer.Session.Id;
        ConfirmedBytes = consumer.ConfirmedBytes;
        RemainingBytes = consumer.RemainingBytes;
        SizeBytes = consumer.SizeBytes;
        InstantId = consumer.Session.InstantId;
    }

    /// <summary>The name, unique in the session.</summary>
    public string Name { get; private init; } = string.Empty;

    /// <summary>The session, "DISK/NAME".</summary>
    public string Session { get; private init; } = string.Empty;

    /// <summary>Bytes that it has confirmed.</summary>
    public long ConfirmedBytes { get; private init; }

    /// <summary>Bytes that it has not confirmed: the session keeps them for this consumer.</summary>
    public long RemainingBytes { get; private init; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; private init; }

    /// <summary>The identity of the session's instant.</summary>
    public Guid InstantId { get; private init; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
