// SPDX-License-Identifier: MIT
namespace Fleece.Block.DirtyBitmaps;

/// <summary>Where the bits of one bitmap survive the process.</summary>
/// <remarks>
/// Threading. Called under the bitmap's lock, one call at a time. Errors. None: a journal that can't keep what it is given
/// remembers so, because the guest's write must not suffer from it.
/// </remarks>
public interface IBitmapJournal
{
    /// <summary>Keeps bytes of the bitmap: bit i of the bitmap is bit i % 8 of byte i / 8. It returns when they would survive the
    /// end of the process.</summary>
    void Store(long firstByte, ReadOnlySpan<byte> bytes);
}

/// <summary>Leaves a mark that the image is about to change, so that a later change by somebody else can be told from it.</summary>
/// <remarks>Threading. Any thread, at once. Errors. None, as for <see cref="IBitmapJournal"/>. It is called for every change, so
/// most calls must cost next to nothing.</remarks>
public interface IChangeWitness
{
    /// <summary>A guest's change, or what the image keeps back of earlier ones, goes to its file next.</summary>
    void BeforeChange();
}
