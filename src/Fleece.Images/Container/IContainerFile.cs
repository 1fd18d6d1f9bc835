// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Container;

/// <summary>The file an image lives in, as formats use it. Tests put faults and crashes beneath a format
/// here.</summary>
/// <remarks>
/// <para>Every call completes before it returns: a local file answers on the calling thread (rule R1).</para>
/// <para>Threading. All members are safe from any thread; <see cref="IDisposable.Dispose"/> only when no call
/// runs.</para>
/// <para>Errors are <see cref="BlockException"/>.</para>
/// </remarks>
internal interface IContainerFile : IDisposable
{
    /// <summary>Full path, for messages.</summary>
    string Path { get; }

    /// <summary>True when every change is refused.</summary>
    bool IsReadOnly { get; }

    /// <summary>The length of the file now.</summary>
    long GetLength();

    /// <summary>The length up to which it can grow; the largest number where only the storage decides.</summary>
    long MaximumLengthBytes { get; }

    /// <summary>Fills the buffer; bytes behind the end of the file are zeros.</summary>
    void Read(long offsetBytes, Span<byte> buffer);

    /// <summary>Has the system begin to read the range into its cache; a hint, which never fails.</summary>
    void ReadAhead(long offsetBytes, long lengthBytes);

    /// <summary>Stores all of the data.</summary>
    void Write(long offsetBytes, ReadOnlySpan<byte> data);

    /// <summary>Makes the range, as far as it lies in the file, read as zeros and frees storage where it can.</summary>
    void Zero(long offsetBytes, long lengthBytes);

    /// <summary>The run at the start of a range that lies in the file: data, or anything that reads as zeros.</summary>
    BlockStatusRun FindExtent(BlockRange range);

    /// <summary>Makes the file longer, with a hole, or shorter.</summary>
    void SetLength(long lengthBytes);

    /// <summary>Makes all earlier changes durable.</summary>
    void Flush();
}
