// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Chain;

/// <summary>An image as the one above it in a chain reads it.</summary>
/// <remarks>
/// <para>Layers are files of this machine, open read-only, so every call completes before it returns (rule R1).</para>
/// <para>Threading. All members are safe from any thread; <see cref="IDisposable.Dispose"/> only when no call runs.</para>
/// </remarks>
internal interface IImageLayer : IDisposable
{
    /// <summary>The file.</summary>
    string Path { get; }

    /// <summary>Its format.</summary>
    ImageFormat Format { get; }

    /// <summary>Size of its disk in bytes.</summary>
    long LengthBytes { get; }

    /// <summary>Its own parent; null where it has none, or was opened without.</summary>
    IImageLayer? Parent { get; }

    /// <summary>Fills the buffer; the range lies within the disk.</summary>
    void Read(long offsetBytes, Span<byte> buffer);

    /// <summary>As <see cref="IBlockNode.ReadAhead"/>, its own parents included; the range lies within the disk.</summary>
    void ReadAhead(long offsetBytes, long lengthBytes);

    /// <summary>As <see cref="IBlockNode.GetStatusAsync"/>, its own parents included; the range lies within the disk.</summary>
    BlockStatusRun GetStatus(long offsetBytes, long lengthBytes);

    /// <summary>As <see cref="AllocationDepth"/> says, counted from this image; the range lies within the disk.</summary>
    DepthRun GetDepth(long offsetBytes, long lengthBytes);
}
