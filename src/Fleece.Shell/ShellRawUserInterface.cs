// SPDX-License-Identifier: MIT
using System.Management.Automation.Host;

namespace Fleece.Shell;

/// <summary>
/// The terminal as a grid. The engine needs its width to format tables; cursor, keys and cells belong to interactive
/// programs and are refused.
/// </summary>
internal sealed class ShellRawUserInterface : PSHostRawUserInterface
{
    // Formatting never asks for the height; a terminal's usual one answers scripts that do.
    private const int Height = 50;

    /// <inheritdoc/>
    public override ConsoleColor BackgroundColor { get; set; } = ConsoleColor.Black;

    /// <inheritdoc/>
    public override ConsoleColor ForegroundColor { get; set; } = ConsoleColor.Gray;

    /// <inheritdoc/>
    public override Size BufferSize
    {
        get => new(Screen.OutputWidth, Height);
        set => throw Unattended.Refuse("Resizing the terminal");
    }

    /// <inheritdoc/>
    public override Size WindowSize
    {
        get => BufferSize;
        set => throw Unattended.Refuse("Resizing the terminal");
    }

    /// <inheritdoc/>
    public override Size MaxPhysicalWindowSize => BufferSize;

    /// <inheritdoc/>
    public override Size MaxWindowSize => BufferSize;

    /// <inheritdoc/>
    public override Coordinates CursorPosition
    {
        get => throw Unattended.Refuse("The cursor");
        set => throw Unattended.Refuse("The cursor");
    }

    /// <inheritdoc/>
    public override Coordinates WindowPosition { get; set; }

    /// <inheritdoc/>
    public override int CursorSize { get; set; } = 25;

    /// <inheritdoc/>
    public override string WindowTitle { get; set; } = ShellHost.ProgramName;

    /// <inheritdoc/>
    public override bool KeyAvailable => false;

    /// <inheritdoc/>
    public override void FlushInputBuffer()
    {
    }

    /// <inheritdoc/>
    public override KeyInfo ReadKey(ReadKeyOptions options) => throw Unattended.Refuse("Reading a key");

    /// <inheritdoc/>
    public override BufferCell[,] GetBufferContents(Rectangle rectangle)
        => throw Unattended.Refuse("The screen's content");

    /// <inheritdoc/>
    public override void SetBufferContents(Rectangle rectangle, BufferCell fill)
        => throw Unattended.Refuse("The screen's content");

    /// <inheritdoc/>
    public override void SetBufferContents(Coordinates origin, BufferCell[,] contents)
        => throw Unattended.Refuse("The screen's content");

    /// <inheritdoc/>
    public override void ScrollBufferContents(
        Rectangle source, Coordinates destination, Rectangle clip, BufferCell fill)
        => throw Unattended.Refuse("The screen's content");
}
